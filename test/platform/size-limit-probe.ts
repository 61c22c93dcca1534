/** Process of the tests, started under a file size limit of 64 KiB: writes 100 KiB at once. */
import { systemErrorCode } from '../../src/platform/errors.ts';
import { NodeDisk } from '../../src/platform/node-disk.ts';

const [, , path = ''] = process.argv;
process.on('SIGXFSZ', () => {});
const file = new NodeDisk().openSync(path, 'create', 'volume');
let code: string | undefined;
try {
  file.writeSync(new Uint8Array(100 * 1024), 0, 100 * 1024, 0);
} catch (error) {
  code = systemErrorCode(error);
}
console.log(JSON.stringify({ code, sizeBytes: file.sizeSync() }));
