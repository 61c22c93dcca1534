/**
 * The simulated disk stands for the real one: without faults both give the same results for the same
 * operations, so that what the simulation shows holds for real files.
 */
import path from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Disk, DiskFile, OpenMode } from '../../src/platform/disk.ts';
import { systemErrorCode } from '../../src/platform/errors.ts';
import { MiB } from '../../src/platform/limits.ts';
import { NodeDisk } from '../../src/platform/node-disk.ts';
import { SimulatedClock } from '../simulation/simulated-clock.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { SimulatedRandom } from '../simulation/simulated-random.ts';
import { isInMemory, temporaryDirectory } from './temporary-directory.ts';

const directory = temporaryDirectory();
const nodeDisk = new NodeDisk();
let runs = 0;

interface Operation {
  readonly name: string;
  readonly run: (disk: Disk, file: DiskFile, base: string) => unknown;
}

function noise(length: number, seed: number): Uint8Array {
  return new SimulatedRandom(seed).bytes(length);
}

function operation(name: string, run: Operation['run']): Operation {
  return { name, run };
}

/** Around page boundaries, around MiB boundaries (of the simulation's tables), and anywhere. */
const position = fc.oneof(
  fc.integer({ min: 0, max: 12 }).map((page) => page * 4096),
  fc.nat(50_000),
  fc.integer({ min: -5000, max: 5000 }).map((away) => 1 * MiB + away),
);
const length = fc.oneof(
  fc.nat(9000),
  fc.integer({ min: 0, max: 4 }).map((pages) => pages * 4096),
);
const seed = fc.nat(1000);

const contentChanges = [
  fc.tuple(position, length, seed).map(([at, count, from]) =>
    operation(`write ${at}+${count}`, (_disk, file) => {
      file.writeSync(noise(count + 7, from), 7, count, at);
    }),
  ),
  fc.tuple(position, length, seed).map(([at, count, from]) =>
    operation(`append ${at}+${count}`, (_disk, file) => {
      file.appendSync(noise(count + 7, from), 7, count, at);
    }),
  ),
  fc
    .tuple(position, length)
    .map(([at, count]) =>
      operation(`punch ${at}+${count}`, (_disk, file) => file.punchHoleSync(at, count)),
    ),
  fc
    .tuple(position)
    .map(([at]) => operation(`truncate ${at}`, (_disk, file) => file.truncateSync(at))),
];

const reservations = [
  fc
    .tuple(position, length)
    .map(([at, count]) =>
      operation(`zero ${at}+${count}`, (_disk, file) => file.zeroRangeSync(at, count)),
    ),
  fc
    .tuple(position, length)
    .map(([at, count]) =>
      operation(`preallocate ${at}+${count}`, (_disk, file) => file.preallocateSync(at, count)),
    ),
];

const looks = [
  fc.tuple(position, length).map(([at, count]) =>
    operation(`read ${at}+${count}`, (_disk, file) => {
      const bytes = new Uint8Array(count + 5).fill(0xee);
      const read = file.readSync(bytes, 3, count, at);
      return { read, bytes: Buffer.from(bytes.subarray(0, 3 + read)).toString('hex') };
    }),
  ),
  fc.tuple(position, length).map(([at, count]) =>
    operation(`cached read ${at}+${count}`, (_disk, file) => {
      const bytes = new Uint8Array(count);
      let read = file.readIfCachedSync(bytes, 0, count, at);
      if (read === -1) read = file.readSync(bytes, 0, count, at);
      return { read, bytes: Buffer.from(bytes.subarray(0, read)).toString('hex') };
    }),
  ),
  fc.tuple(position).map(([at]) =>
    operation(`direct read ${at}`, (disk, file) => {
      const bytes = disk.allocateAligned(8192);
      const read = file.readDirectSync(bytes, 0, 8192, at - (at % 4096));
      return { read, bytes: Buffer.from(bytes.subarray(0, read)).toString('hex') };
    }),
  ),
  fc.constant(operation('size', (_disk, file) => file.sizeSync())),
  fc.constant(operation('sync', (_disk, file) => file.dataSyncSync())),
];

const seeks = [
  fc.tuple(position).map(([at]) => operation(`data ${at}`, (_disk, file) => file.nextDataSync(at))),
  fc.tuple(position).map(([at]) => operation(`hole ${at}`, (_disk, file) => file.nextHoleSync(at))),
];

const name = fc.constantFrom('a', 'b', 'c', 'd/a', 'd/b', 'd', 'e/f', 'a/x');
const modes: OpenMode[] = ['read', 'read-write', 'create', 'open-or-create'];
const entries = [
  fc.tuple(name, fc.constantFrom(...modes)).map(([file, mode]) =>
    operation(`open ${mode} ${file}`, (disk, _file, base) => {
      const opened = disk.openSync(path.join(base, file), mode, 'volume');
      if (mode !== 'read') opened.writeSync(noise(10, 1), 0, 10, opened.sizeSync());
      const size = opened.sizeSync();
      opened.closeSync();
      return size;
    }),
  ),
  fc
    .tuple(name, length)
    .map(([file, count]) =>
      operation(`replace ${file} ${count}`, (disk, _file, base) =>
        disk.replaceFileSync(path.join(base, file), noise(count, 2), 'catalog'),
      ),
    ),
  fc
    .tuple(name, name)
    .map(([from, to]) =>
      operation(`rename ${from} ${to}`, (disk, _file, base) =>
        disk.renameSync(path.join(base, from), path.join(base, to)),
      ),
    ),
  ...(['removeFileSync', 'removeDirectorySync', 'makeDirectorySync'] as const).map((method) =>
    name.map((file) =>
      operation(`${method} ${file}`, (disk, _file, base) => disk[method](path.join(base, file))),
    ),
  ),
  ...(['listSync', 'existsSync', 'isDirectorySync', 'syncDirectorySync'] as const).map((method) =>
    name.map((file) =>
      operation(`${method} ${file}`, (disk, _file, base) => disk[method](path.join(base, file))),
    ),
  ),
  fc.constant(operation('list', (disk, _file, base) => disk.listSync(base))),
  name.map((file) =>
    operation(`read file ${file}`, (disk, _file, base) => {
      const contents = disk.readFileSync(path.join(base, file), 'catalog');
      return contents && Buffer.from(contents).toString('hex');
    }),
  ),
];

function results(disk: Disk, base: string, operations: readonly Operation[]): string[] {
  disk.makeDirectorySync(base);
  const file = disk.openSync(path.join(base, 'file'), 'create', 'volume');
  const found = operations.map(({ name: what, run }) => {
    try {
      return `${what}: ${JSON.stringify(run(disk, file, base))}`;
    } catch (error) {
      return `${what}: ${systemErrorCode(error) ?? String(error)}`;
    }
  });
  const bytes = new Uint8Array(file.sizeSync());
  file.readSync(bytes, 0, bytes.length, 0);
  file.closeSync();
  return [...found, Buffer.from(bytes).toString('base64')];
}

function expectSameResults(operations: readonly Operation[]): void {
  const base = path.join(directory, `run-${runs++}`);
  const random = new SimulatedRandom(runs);
  const simulated = new SimulatedDisk({ clock: new SimulatedClock(), random });
  expect(results(simulated.attach(), base, operations)).toEqual(
    results(nodeDisk, base, operations),
  );
}

function sequences(choices: fc.Arbitrary<Operation>[]): fc.Arbitrary<Operation[]> {
  return fc.array(fc.oneof(...choices), { minLength: 1, maxLength: 40 });
}

test('contents and sizes are the same', () => {
  const choices = [...contentChanges, ...reservations, ...looks];
  fc.assert(fc.property(sequences(choices), expectSameResults), { numRuns: 150 });
});

test.skipIf(isInMemory)('holes are in the same places', () => {
  const choices = [...contentChanges, ...seeks];
  fc.assert(fc.property(sequences(choices), expectSameResults), { numRuns: 150 });
});

test('directories, names and error codes are the same', () => {
  fc.assert(fc.property(sequences(entries), expectSameResults), { numRuns: 200 });
});
