/** Process of the tests, started as root: as nobody, tries everything in a directory closed to it. */
import path from 'node:path';
import { systemErrorCode } from '../../src/platform/errors.ts';
import { NodeDisk } from '../../src/platform/node-disk.ts';

const [, , directory = ''] = process.argv;
const disk = new NodeDisk();
const nobody = 65534;
process.setegid?.(nobody);
process.seteuid?.(nobody);

function attempt(run: () => unknown): string | undefined {
  try {
    run();
    return 'done';
  } catch (error) {
    return systemErrorCode(error);
  }
}

const file = path.join(directory, 'x');
console.log(
  JSON.stringify({
    open: attempt(() => disk.openSync(file, 'read', 'volume')),
    create: attempt(() => disk.openSync(path.join(directory, 'y'), 'create', 'volume')),
    read: attempt(() => disk.readFileSync(file, 'catalog')),
    exists: attempt(() => disk.existsSync(file)),
    list: attempt(() => disk.listSync(directory)),
    replace: attempt(() => disk.replaceFileSync(file, new Uint8Array(1), 'catalog')),
    makeDirectory: attempt(() => disk.makeDirectorySync(path.join(directory, 'd'))),
    existingDirectory: attempt(() => disk.makeDirectorySync(directory)),
    lock: attempt(() => disk.lockSync(file)),
  }),
);
