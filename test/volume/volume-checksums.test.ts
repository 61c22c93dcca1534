import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { areSameSums, type ChecksumSum } from '../../src/journal/point-record.ts';
import { must } from '../../src/platform/assert.ts';
import { nodeClock } from '../../src/platform/clock.ts';
import type { Disk, DiskFile } from '../../src/platform/disk.ts';
import { blockBytes, KiB, TiB } from '../../src/platform/limits.ts';
import { NodeDisk } from '../../src/platform/node-disk.ts';
import { BlockSum, entryOf } from '../../src/volume/block-checksums.ts';
import { VolumeChecksums } from '../../src/volume/volume-checksums.ts';
import { SimulatedClock } from '../simulation/simulated-clock.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { SimulatedRandom } from '../simulation/simulated-random.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const id = 7;
const path = '/v/0007.volume';
const directory = '/checksums';
const sizesMax = 24 * blockBytes;

type Change =
  | {
      readonly kind: 'write';
      readonly start: number;
      readonly length: number;
      readonly byte: number;
    }
  | { readonly kind: 'zero' | 'hole'; readonly start: number; readonly length: number };

type Step =
  | { readonly kind: 'batch'; readonly changes: readonly Change[] }
  | { readonly kind: 'work'; readonly bytesMax: number }
  | { readonly kind: 'grow'; readonly bytes: number }
  | { readonly kind: 'checkpoint' | 'power_loss' | 'death' | 'finish' };

const offset = fc.oneof(
  fc.nat(sizesMax - 1),
  fc.nat(23).map((block) => block * blockBytes),
);
const extent = {
  start: offset,
  length: fc.oneof(fc.constantFrom(1, 512, 4096, 8192), fc.nat(sizesMax)),
};
const change: fc.Arbitrary<Change> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('write' as const), ...extent, byte: fc.nat(3) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom('zero' as const, 'hole' as const), ...extent }),
  },
);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('batch' as const),
      changes: fc.array(change, { maxLength: 4 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('work' as const),
      bytesMax: fc.constantFrom(1, 4096, 1_000_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('grow' as const), bytes: fc.nat(5000) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'checkpoint' as const,
        'power_loss' as const,
        'death' as const,
        'finish' as const,
      ),
    }),
  },
);

/** By blocks, from contents alone. */
function sumOf(contents: Uint8Array): ChecksumSum {
  const sum = new BlockSum();
  for (let block = 0; block * blockBytes < contents.length; block += 1) {
    const whole = Buffer.alloc(blockBytes);
    whole.set(contents.subarray(block * blockBytes, (block + 1) * blockBytes));
    sum.change(block, 0, entryOf(whole));
  }
  return sum;
}

/** A volume, its checksums and a journal of what was done since the last checkpoint, over power losses. */
class Model {
  readonly clock = new SimulatedClock();
  readonly machine: SimulatedDisk;
  contents = Buffer.alloc(sizesMax);
  disk: Disk;
  volume: DiskFile;
  checksums: VolumeChecksums;
  #isOnDevice = false;
  #undone: (readonly Change[])[] = [];

  constructor(seed: number) {
    this.machine = new SimulatedDisk({ clock: this.clock, random: new SimulatedRandom(seed) });
    this.disk = this.machine.attach();
    this.disk.makeDirectorySync('/v');
    this.volume = this.disk.openSync(path, 'create', 'volume');
    this.volume.truncateSync(this.contents.length);
    this.volume.dataSyncSync();
    this.disk.syncDirectorySync('/v');
    this.checksums = new VolumeChecksums(this.disk);
    this.checksums.keep(directory, { isKept: false });
  }

  batch(changes: readonly Change[]): void {
    const { length } = this.contents;
    const kept = changes.map((each) => ({
      ...each,
      length: Math.min(each.length, length - each.start),
    }));
    for (const each of kept)
      if (each.length > 0)
        this.contents.fill(
          each.kind === 'write' ? each.byte : 0,
          each.start,
          each.start + each.length,
        );
    this.#undone.push(kept);
    this.#apply(kept);
  }

  /** Each change as a batch of its own: in one, no byte is written twice. */
  #apply(changes: readonly Change[]): void {
    for (const each of changes) {
      if (each.length <= 0) continue;
      this.checksums.begin();
      if (each.kind === 'write') {
        const bytes = Buffer.alloc(each.length + 3, each.byte);
        this.volume.writeSync(bytes, 3, each.length, each.start);
        this.checksums.written(id, bytes, 3, each.length, each.start);
      } else {
        if (each.kind === 'zero') this.volume.zeroRangeSync(each.start, each.length);
        else this.volume.punchHoleSync(each.start, each.length);
        this.checksums.zeroed(id, each.start, each.length);
      }
      this.checksums.finish(() => this.volume);
    }
  }

  work(bytesMax: number): boolean {
    const worked = this.checksums.work([{ id, path }], () => this.volume, bytesMax);
    if (worked.failure !== undefined) throw new Error(worked.failure);
    return worked.isComplete;
  }

  grow(bytes: number): void {
    this.contents = Buffer.concat([this.contents, Buffer.alloc(bytes)]);
    this.volume.truncateSync(this.contents.length);
  }

  async checkpoint(): Promise<void> {
    const syncs = this.checksums.takeDirty();
    this.volume.dataSyncSync();
    for (const sync of syncs) await this.clock.run(new Promise<void>((done) => sync(() => done())));
    this.#undone = [];
    this.#isOnDevice = true;
  }

  /** What the next start does: the journal from the checkpoint on, on whatever is there. */
  begin(): void {
    this.disk = this.machine.attach();
    this.volume = this.disk.openSync(path, 'read-write', 'volume');
    if (this.volume.sizeSync() !== this.contents.length)
      this.volume.truncateSync(this.contents.length);
    this.checksums = new VolumeChecksums(this.disk);
    // Before the first checkpoint nothing says that what is there was kept.
    this.checksums.keep(directory, { isKept: this.#isOnDevice });
    for (const changes of this.#undone) this.#apply(changes);
  }

  /** Wherever the sum is known it is that of the contents. */
  get isRight(): boolean {
    const [sum] = this.checksums.sums();
    return sum === undefined || areSameSums(sum, sumOf(this.contents));
  }
}

test('the sum is that of the contents, whatever came in which order, over deaths and power losses', async () => {
  let seed = 0;
  let known = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), async (steps) => {
      seed += 1;
      const model = new Model(seed);
      for (const each of steps) {
        if (each.kind === 'batch') model.batch(each.changes);
        else if (each.kind === 'work') model.work(each.bytesMax);
        else if (each.kind === 'grow') model.grow(each.bytes);
        else if (each.kind === 'finish') while (!model.work(4096)) continue;
        else if (each.kind === 'checkpoint') await model.checkpoint();
        else {
          if (each.kind === 'power_loss') model.machine.powerLost();
          else model.machine.processCrash();
          model.begin();
        }
        expect(model.isRight).toBe(true);
        known += model.checksums.sums().length;
      }
      while (!model.work(1_000_000)) continue;
      expect(model.checksums.sums()).toHaveLength(1);
      expect(model.isRight).toBe(true);
    }),
    { numRuns: 400 },
  );
  expect(known).toBeGreaterThan(1000);
}, 120_000);

test('two blocks that change places, and one that stands somewhere else, are another sum', () => {
  const [a, b] = [Buffer.alloc(blockBytes, 1), Buffer.alloc(blockBytes, 2)];
  const zeroes = Buffer.alloc(blockBytes);
  const sums = [[a, b], [b, a], [a, zeroes, b], [zeroes, a, b], [a, a], [b, b], [a], []].map(
    (blocks) => {
      const { low, high } = sumOf(Buffer.concat(blocks));
      return `${low} ${high}`;
    },
  );
  expect(new Set(sums).size).toBe(sums.length);
});

test('the constants are of the format', () => {
  const contents = Buffer.alloc(3 * blockBytes, 'jnbd');
  const { low, high } = sumOf(contents);
  expect([entryOf(contents.subarray(0, blockBytes)), low, high]).toEqual([
    3198253341, 797627714, 2508896480,
  ]);
});

test('clearing 8 TiB costs by what is there', () => {
  const temporary = temporaryDirectory('checksums');
  onTestFinished(() => temporary.remove());
  const disk = new NodeDisk();
  const { path: root } = temporary;
  const volume = disk.openSync(`${root}/volume`, 'create', 'volume');
  const bytes = 8 * TiB;
  volume.truncateSync(bytes);
  const checksums = new VolumeChecksums(disk);
  checksums.keep(`${root}/checksums`, { isKept: false });
  const whole = [{ id, path: `${root}/volume` }];
  expect(checksums.work(whole, () => volume, 4096).isComplete).toBe(true);
  const block = Buffer.alloc(blockBytes, 9);
  checksums.begin();
  for (const at of [0, bytes / 2, bytes - blockBytes]) {
    volume.writeSync(block, 0, blockBytes, at);
    checksums.written(id, block, 0, blockBytes, at);
  }
  checksums.finish(() => volume);
  expect(must(checksums.sums()[0], 'the sum is known').low).not.toBe(0);
  const started = nodeClock.monotonicMilliseconds();
  volume.punchHoleSync(0, bytes);
  checksums.zeroed(id, 0, bytes);
  checksums.finish(() => volume);
  expect(checksums.sums()).toEqual([{ volume: id, low: 0, high: 0 }]);
  expect(nodeClock.monotonicMilliseconds() - started).toBeLessThan(1000);
  const file = disk.openSync(`${root}/checksums/0007.building`, 'read', 'checksums');
  expect(file.allocatedBytesSync()).toBeLessThanOrEqual(16 * KiB);
  file.closeSync();
  checksums.close();
  volume.closeSync();
});
