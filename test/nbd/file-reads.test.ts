import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, type MockInstance, vi } from 'vitest';
import { resizeVolume } from '../../src/group/volumes/volume-changes.ts';
import { NbdClient, NbdError } from '../../src/nbd/client.ts';
import type { ReplyForm } from '../../src/nbd/negotiation.ts';
import type { NbdServerOptions } from '../../src/nbd/server.ts';
import { loadClientTls, readPreSharedKeys } from '../../src/nbd/tls.ts';
import { JnbdError } from '../../src/platform/errors.ts';
import { must } from '../../src/platform/assert.ts';
import { KiB, MiB } from '../../src/platform/limits.ts';
import type { ListenAddress } from '../../src/platform/network.ts';
import { NodeDisk } from '../../src/platform/node-disk.ts';
import { NodeConnection } from '../../src/platform/node-connection.ts';
import * as systemCalls from '../../src/platform/system-calls.ts';
import { writePreSharedKey } from '../support/certificates.ts';
import { eventually } from '../support/nbd-server.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';
import { type ServedSystem, serveSystem, type SlowPath, slowPath } from './served-system.ts';

const forms: ReplyForm[] = ['simple', 'structured', 'extended'];
const sizeBytes = 24 * MiB;
const sectorBytes = 512;

let directory: TemporaryDirectory;
let served: ServedSystem;
let paths: SlowPath[] = [];
let clients: NbdClient[] = [];
let sends: MockInstance<NodeConnection['sendFile']>;

beforeEach(() => {
  directory = temporaryDirectory('file-reads');
  // Watched, not changed.
  sends = vi.spyOn(NodeConnection.prototype, 'sendFile');
});
afterEach(async () => {
  sends.mockRestore();
  for (const client of clients) client.destroy();
  for (const path of paths) path.close();
  clients = [];
  paths = [];
  await served.stop();
  directory.remove();
});

/** No more may be offered at once: for so much a page that has just left the cache holds everybody up. */
const offeredBytesMax = 256 * KiB;

/** What the kernel took from files, and how often it took less than it was offered. */
function sent(): { bytes: number; parts: number } {
  let bytes = 0;
  let parts = 0;
  for (const [index, [, start, end, , , length]] of sends.mock.calls.entries()) {
    const taken = sends.mock.results[index]?.value as number;
    expect(length).toBeLessThanOrEqual(offeredBytesMax);
    bytes += Math.max(0, taken - (end - start));
    if (taken < end - start + length) parts += 1;
  }
  return { bytes, parts };
}

async function start(listen?: ListenAddress, options?: NbdServerOptions): Promise<void> {
  served = await serveSystem(directory.path, sizeBytes, listen, options);
}

async function connect(replyForm: ReplyForm, to = served.address): Promise<NbdClient> {
  const client = await NbdClient.connect(to, { replyForm });
  clients.push(client);
  return client;
}

async function slowly(): Promise<SlowPath> {
  const path = await slowPath(served.address);
  paths.push(path);
  return path;
}

function below(limit: number): number {
  return Math.floor(Math.random() * limit);
}

/** Each sector says 64 times which one it is, and which version of it. */
function sectors(offset: number, length: number, version: number): Buffer {
  const words = new Uint32Array(length / 4);
  for (let at = 0; at < words.length; at += 2) {
    words[at] = Math.floor((offset + at * 4) / sectorBytes) + 1;
    words[at + 1] = version;
  }
  return Buffer.from(words.buffer);
}

async function fill(): Promise<void> {
  const writer = await connect('extended');
  for (let at = 0; at < sizeBytes; at += 4 * MiB) await writer.write(at, sectors(at, 4 * MiB, 1));
  await writer.close();
  await served.applyAll();
}

/** Each word must be of its own sector, of no version but those that were there during the read. */
function check(bytes: Buffer, offset: number, oldest: Uint32Array, newest: Uint32Array): void {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  for (let at = 0; at < words.length; at += 2) {
    const sector = Math.floor((offset + at * 4) / sectorBytes);
    const version = words[at + 1] ?? 0;
    const isItsOwn = words[at] === sector + 1;
    if (isItsOwn && version >= (oldest[sector] ?? 0) && version <= (newest[sector] ?? 0)) continue;
    throw new Error(
      `sector ${sector} of a read at ${offset} has words of sector ${(words[at] ?? 0) - 1}, version ${version}; ${oldest[sector]} to ${newest[sector]} were there`,
    );
  }
}

/** Whether this system tells what its page cache has: else all is copied, and must be as right. */
const isTold = tellsCached();

function tellsCached(): boolean {
  const probe = temporaryDirectory('file-reads-probe');
  const file = new NodeDisk().openSync(join(probe.path, 'probe'), 'create', 'volume');
  file.writeSync(new Uint8Array(4096), 0, 4096, 0);
  const isCached = file.isCachedSync(0, 4096);
  file.closeSync();
  probe.remove();
  return isCached;
}

describe.each(forms)('large reads of what is in the backing file, %s', (replyForm) => {
  it.skipIf(!isTold)(
    'are right while others write, apply goes on and pages leave the cache',
    { timeout: 120_000 },
    async () => {
      await start();
      await fill();
      const issued = new Uint32Array(sizeBytes / sectorBytes).fill(1);
      const acknowledged = issued.slice();
      const file = must(served.volume.file, 'a file');
      let isOver = false;
      const writing = (async () => {
        const writer = await connect('extended');
        for (let version = 2; !isOver; version += 1) {
          const length = sectorBytes * (1 + below(Math.random() < 0.1 ? 2000 : 16));
          const offset = sectorBytes * below((sizeBytes - length) / sectorBytes);
          const from = offset / sectorBytes;
          issued.fill(version, from, from + length / sectorBytes);
          await writer.write(offset, sectors(offset, length, version));
          acknowledged.fill(version, from, from + length / sectorBytes);
          if (version % 20 === 0) served.group.hurryApply();
          if (version % 50 === 0)
            systemCalls.adviseNotNeeded(file.descriptor, below(sizeBytes), 3 * MiB);
          await new Promise((resolve) => setTimeout(resolve, below(4)));
        }
      })();
      const slow = await slowly();
      const reading = [served.address, served.address, slow.address].map(async (to) => {
        const client = await connect(replyForm, to);
        const isSlow = to === slow.address;
        for (let round = 0; round < (isSlow ? 12 : 24); round += 1) {
          // Several under way, so that replies of any kind could come between.
          await Promise.all(
            Array.from({ length: isSlow ? 3 : 8 }, async () => {
              const bytes = Math.random() < 0.3 ? 64 * KiB : 64 * KiB + below(below(8 * MiB));
              const length = Math.random() < 0.2 ? 4096 : bytes - (bytes % 8);
              const offset = 8 * below((sizeBytes - length) / 8);
              const oldest = acknowledged.slice();
              check(await client.read(offset, length), offset, oldest, issued);
            }),
          );
        }
      });
      await Promise.all(reading);
      isOver = true;
      await writing;
      expect(sent().bytes).toBeGreaterThan(8 * MiB);
      expect(sent().parts).toBeGreaterThan(0);
    },
  );

  it('leave holes what they are', async () => {
    await start();
    await fill();
    const client = await connect(replyForm);
    const model = sectors(0, sizeBytes, 1);
    for (const [offset, length] of [
      [1 * MiB, 1 * MiB],
      [3 * MiB + 4096, 64 * KiB],
      [5 * MiB, 4096],
      [9 * MiB + 512, 300 * KiB],
    ] as const) {
      await client.trim(offset, length);
      model.fill(0, offset, offset + length);
    }
    await served.applyAll();
    for (let round = 0; round < 20; round += 1) {
      const length = 64 * KiB + below(12 * MiB);
      const offset = below(sizeBytes - length);
      const data = await client.read(offset, length);
      expect(data.equals(model.subarray(offset, offset + length))).toBe(true);
    }
    const chunks = await client.readChunks(0, 4 * MiB);
    const holeBytes = chunks
      .filter(({ kind }) => kind === 'hole')
      .reduce((sum, { length }) => sum + length, 0);
    expect(holeBytes >= 1 * MiB).toBe(replyForm !== 'simple');
    expect(sent().bytes > 0).toBe(isTold);
  });

  it.skipIf(!isTold)('are not interrupted by reads that the disk was slow with', async () => {
    // Few: with one more in use, nobody who holds one gets another.
    await start(undefined, { replyBytesMax: 5 * 256 * KiB });
    await fill();
    const file = must(served.volume.file, 'a file');
    const missing = vi.spyOn(file, 'readIfCachedSync').mockReturnValue(-1);
    const held: (() => void)[] = [];
    const read = file.read.bind(file);
    const reading = vi
      .spyOn(file, 'read')
      .mockImplementation((bytes, at, length, position, done) => {
        // The kernel says now and then that it has not what it has: such a read of the long one goes on.
        if (position < 20 * MiB) read(bytes, at, length, position, done);
        else held.push(() => done(null, file.readSync(bytes, at, length, position)));
      });
    const path = await slowly();
    const client = await connect(replyForm, path.address);
    const other = await connect('structured');
    path.isHeld = true;
    const late = client.read(20 * MiB, 4096);
    await eventually('the disk is asked', () => held.length === 1);
    missing.mockRestore();
    const long = client.read(0, 18 * MiB);
    await eventually('the socket is full in the middle of a chunk', () => sent().parts > 0);
    held.shift()?.();
    const missingAgain = vi.spyOn(file, 'readIfCachedSync').mockReturnValue(-1);
    const later = other.read(21 * MiB, 4096);
    await eventually('the disk is asked again', () => held.length === 1);
    missingAgain.mockRestore();
    reading.mockRestore();
    path.isHeld = false;
    expect((await long).equals(sectors(0, 18 * MiB, 1))).toBe(true);
    expect((await late).equals(sectors(20 * MiB, 4096, 1))).toBe(true);
    held.shift()?.();
    expect((await later).equals(sectors(21 * MiB, 4096, 1))).toBe(true);
  });

  it.skipIf(!isTold)(
    'end with the connection where promised data cannot be read any more',
    async () => {
      await start();
      await fill();
      const path = await slowly();
      const client = await connect(replyForm, path.address);
      path.isHeld = true;
      const read = client.read(0, 20 * MiB).then(
        () => 'answered',
        (error: unknown) => error,
      );
      await eventually('the socket is full in the middle of a chunk', () => sent().parts > 0);
      served.volume.become('abnormal', 'as if its disk were gone');
      path.isHeld = false;
      const outcome = await read;
      // A chunk that happened to be complete may be followed by an error instead.
      const isError = outcome instanceof NbdError && replyForm !== 'simple';
      const isCutOff = outcome instanceof JnbdError && outcome.code === 'daemon_unreachable';
      expect(isError || isCutOff).toBe(true);
      await eventually('the session is closed', () => served.volume.sessions.size === 0 || isError);
    },
  );
});

describe('a large read', () => {
  it('is copied where its pages are not in the cache, and sent from there once they are', async () => {
    await start();
    await fill();
    const file = must(served.volume.file, 'a file');
    systemCalls.adviseNotNeeded(file.descriptor, 0, sizeBytes);
    if (!isTold || file.isCachedSync(0, sizeBytes)) return;
    const client = await connect('structured');
    const model = sectors(0, sizeBytes, 1);
    const cold = await client.read(0, 8 * MiB);
    expect(cold.equals(model.subarray(0, 8 * MiB))).toBe(true);
    const before = sent().bytes;
    const warm = await client.read(0, 8 * MiB);
    expect(warm.equals(cold)).toBe(true);
    expect(sent().bytes - before).toBeGreaterThan(6 * MiB);
  });

  it('is never sent past what only the journal has', async () => {
    await start();
    await fill();
    const client = await connect('structured');
    const model = sectors(0, sizeBytes, 1);
    await client.flush();
    for (let at = 300 * KiB; at < 16 * MiB; at += 700 * KiB) {
      const bytes = sectors(at, 4096, 2);
      bytes.copy(model, at);
      await client.write(at, bytes);
    }
    expect(served.group.index.isEmpty).toBe(false);
    const data = await client.read(512, 16 * MiB);
    expect(data.equals(model.subarray(512, 512 + 16 * MiB))).toBe(true);
  });

  it.skipIf(!isTold)('goes over a Unix socket too', async () => {
    await start({ kind: 'unix', path: join(directory.path, 'nbd.sock') });
    await fill();
    const client = await connect('extended');
    const data = await client.read(4096, 16 * MiB);
    expect(data.equals(sectors(0, sizeBytes, 1).subarray(4096, 4096 + 16 * MiB))).toBe(true);
    expect(sent().bytes).toBeGreaterThan(0);
  });

  it('is encrypted under TLS', async () => {
    const keys = join(directory.path, 'keys.psk');
    writePreSharedKey(keys, 'alice');
    const tls = { preSharedKeys: readPreSharedKeys(keys), clientCertificates: 'optional' } as const;
    served = await serveSystem(join(directory.path, 'data'), sizeBytes, undefined, {
      tlsMode: 'require',
      tls,
    });
    const client = await NbdClient.connect(served.address, {
      tls: {
        ...loadClientTls(undefined, keys, 'alice'),
        verifyPeer: true,
        hostName: undefined,
      },
    });
    clients.push(client);
    for (let at = 0; at < sizeBytes; at += 4 * MiB) await client.write(at, sectors(at, 4 * MiB, 1));
    await served.applyAll();
    const data = await client.read(0, 16 * MiB);
    expect(data.equals(sectors(0, 16 * MiB, 1))).toBe(true);
    expect(sends).not.toHaveBeenCalled();
  });

  it('that nobody takes any more takes nothing with it', async () => {
    await start();
    await fill();
    const path = await slowly();
    const gone = await connect('structured', path.address);
    path.isHeld = true;
    const lost = gone.read(0, 16 * MiB).catch((error: unknown) => error);
    await eventually('it is under way', () => !isTold || sent().bytes > 0);
    path.close();
    expect(await lost).toBeInstanceOf(Error);
    await eventually('its session is closed', () => served.volume.sessions.size === 0);
    const client = await connect('structured');
    expect((await client.read(0, 4 * MiB)).equals(sectors(0, 4 * MiB, 1))).toBe(true);
  });

  it('goes on while the volume grows', async () => {
    await start();
    await fill();
    const path = await slowly();
    const client = await connect('structured', path.address);
    const read = client.read(0, sizeBytes);
    await eventually('it is under way', () => !isTold || sent().bytes > 0);
    await resizeVolume(served.group, served.volume, sizeBytes * 2);
    expect((await read).equals(sectors(0, sizeBytes, 1))).toBe(true);
  });
});
