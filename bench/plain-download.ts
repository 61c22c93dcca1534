/**
 * The limit of what a follower can do: one file over HTTP/2, as plain as node:http2 has it, to a file that is
 * synced.
 *
 *   serve FILE        prints the port, and serves until it is ended
 *   get   PORT FILE   prints the seconds until all was durable
 */
import {
  closeSync,
  createReadStream,
  createWriteStream,
  fdatasync,
  openSync,
  statSync,
} from 'node:fs';
import { connect, createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';

const windowBytes = 16 * 1024 * 1024;
const settings = { initialWindowSize: windowBytes, maxFrameSize: 64 * 1024 };
const pieceBytes = 1024 * 1024;

function serve(path: string): void {
  const server = createServer({ settings });
  server.on('stream', (stream) => {
    stream.respond({ ':status': 200, 'content-length': statSync(path).size });
    createReadStream(path, { highWaterMark: pieceBytes }).pipe(stream);
  });
  server.listen(0, '127.0.0.1', () => {
    process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
  });
}

async function get(port: string, path: string): Promise<void> {
  const session = connect(`http://127.0.0.1:${port}`, { settings });
  await new Promise((resolve) => session.once('connect', resolve));
  session.setLocalWindowSize(windowBytes);
  const started = performance.now();
  const file = openSync(path, 'w');
  const asked = session.request({ ':path': '/' });
  const written = createWriteStream('', {
    fd: file,
    autoClose: false,
    highWaterMark: 4 * pieceBytes,
  });
  await pipeline(asked, written);
  await promisify(fdatasync)(file);
  process.stdout.write(`${(performance.now() - started) / 1000}\n`);
  closeSync(file);
  session.close();
}

const [mode, first = '', second = ''] = process.argv.slice(2);
if (mode === 'serve') serve(first);
else await get(first, second);
