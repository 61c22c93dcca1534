import fc from 'fast-check';
import { expect, test } from 'vitest';
import { blockBytes } from '../../src/platform/limits.ts';
import { planSteps } from '../../src/volume/apply-plan.ts';
import { BlockTable } from '../../src/volume/block-table.ts';
import { tableArrays } from '../../src/volume/table-arrays.ts';
import { type NodeKind, nodeKind } from '../../src/volume/node-kind.ts';

const windowBlocks = 160;
const windowBytes = windowBlocks * blockBytes;
/** Where the window of each volume begins: at 0, across 2^32 bytes, across 2^32 blocks, at the end. */
const bases = [0, 2 ** 32 - 40 * blockBytes, 2 ** 44 - 40 * blockBytes, 2 ** 45 - windowBytes];
const volumeIds = [1, 2, 300, 65535];

interface Change {
  readonly volume: number;
  readonly kind: NodeKind;
  readonly start: number;
  readonly length: number;
  readonly gap: number;
  readonly rolls: boolean;
}

const position = fc.oneof(
  fc.integer({ min: 0, max: windowBytes - 1 }),
  fc.integer({ min: 0, max: windowBlocks - 1 }).map((block) => block * blockBytes),
  // Few places, so that much overlaps.
  fc.integer({ min: 0, max: 31 }).map((sector) => sector * 512),
);
const changes: fc.Arbitrary<Change[]> = fc.array(
  fc.record({
    volume: fc.integer({ min: 0, max: volumeIds.length - 1 }),
    kind: fc.constantFrom<NodeKind>(0, 0, 0, nodeKind.zero, nodeKind.hole),
    start: position,
    length: fc.oneof(
      fc.constantFrom(512, 4096, 8192),
      fc.integer({ min: 1, max: 20_000 }),
      fc.integer({ min: 1, max: windowBytes }),
    ),
    gap: fc.integer({ min: 28, max: 5000 }),
    rolls: fc.boolean(),
  }),
  { maxLength: 40 },
);

/** What a byte is: untouched, zero, hole, or the byte of the journal at a place. */
const untouched = -1;
const zeroed = -2;
const punched = -3;

test('a plan changes each byte once, to its newest version, in order of address', () => {
  fc.assert(
    fc.property(changes, (asked) => {
      const table = new BlockTable(16384);
      const model = volumeIds.map(() => new Float64Array(windowBytes).fill(untouched));
      let sequence = 7;
      let offset = 4096;
      let number = 0;
      for (const change of asked) {
        const length = Math.min(change.length, windowBytes - change.start);
        const bytes = change.kind === nodeKind.data ? length : 0;
        offset += change.gap;
        if (change.rolls || offset + bytes > 2 ** 24) {
          sequence += 1;
          offset = 4096 + 28;
        }
        number += 1;
        const id = volumeIds[change.volume] ?? 0;
        const at = (bases[change.volume] ?? 0) + change.start;
        const contents = model[change.volume] ?? new Float64Array();
        if (change.kind === nodeKind.data) {
          table.insertData(id, at, length, number, sequence, offset);
          for (let i = 0; i < length; i += 1) {
            contents[change.start + i] = (sequence - 7) * 2 ** 24 + offset + i;
          }
        } else {
          table.insertRange(id, change.kind, at, length, number, sequence, offset);
          const what = change.kind === nodeKind.zero ? zeroed : punched;
          contents.fill(what, change.start, change.start + length);
        }
        offset += bytes;
      }
      // An empty table has no base; 7 is that of any other, unless the first record rolled.
      const shift = table.isEmpty ? 0 : (table.baseSequence - 7) * 2 ** 24;
      const planned = volumeIds.map(() => new Float64Array(windowBytes).fill(untouched));
      let last = -1;
      planSteps(tableArrays(table.memory), table.count, table.ranges.list(), (step) => {
        const volume = volumeIds.indexOf(step.volume);
        expect(volume).toBeGreaterThanOrEqual(0);
        const start = step.offset - (bases[volume] ?? 0);
        const order = volume * 2 ** 46 + step.offset;
        expect(order).toBeGreaterThan(last);
        last = order + step.length - 1;
        const contents = planned[volume] ?? new Float64Array();
        expect(start).toBeGreaterThanOrEqual(0);
        expect(start + step.length).toBeLessThanOrEqual(windowBytes);
        const source = step.segment * 2 ** 24 + step.segmentOffset + shift;
        if (step.kind !== nodeKind.data) {
          const what = step.kind === nodeKind.zero ? zeroed : punched;
          contents.fill(what, start, start + step.length);
          return;
        }
        expect(step.segmentOffset + step.length).toBeLessThanOrEqual(2 ** 24);
        for (let i = 0; i < step.length; i += 1) contents[start + i] = source + i;
      });
      for (const [volume, expected] of model.entries()) {
        const found = Buffer.from(planned[volume]?.buffer ?? new ArrayBuffer(0));
        expect(found.equals(Buffer.from(expected.buffer))).toBe(true);
      }
      table.clear();
      expect([table.count, table.isEmpty, table.ranges.count]).toEqual([0, true, 0]);
    }),
    { numRuns: 60 },
  );
}, 60_000);

test('neighbours of one kind are one step', () => {
  const table = new BlockTable(1024);
  let offset = 4096;
  for (let block = 0; block < 10; block += 1) {
    table.insertData(1, block * blockBytes, blockBytes, block + 1, 1, offset + 28);
    offset += blockBytes + 28;
  }
  table.insertData(1, 10 * blockBytes, 3 * blockBytes, 11, 1, offset + 28);
  table.insertRange(1, nodeKind.hole, 13 * blockBytes, blockBytes, 12, 1, offset);
  table.insertRange(1, nodeKind.hole, 14 * blockBytes, 100 * blockBytes, 13, 1, offset);
  table.insertRange(1, nodeKind.hole, 114 * blockBytes, 1000, 14, 1, offset);
  const steps: [number, number, number][] = [];
  planSteps(tableArrays(table.memory), table.count, table.ranges.list(), (step) => {
    steps.push([step.kind, step.offset / blockBytes, step.length]);
  });
  const single = Array.from({ length: 10 }, (_, block) => [0, block, blockBytes]);
  expect(steps).toEqual([
    ...single,
    [0, 10, 3 * blockBytes],
    [nodeKind.hole, 13, 101 * blockBytes + 1000],
  ]);
});

test('a table says what it needs before it takes it', () => {
  const lengths = fc.integer({ min: 1, max: 2 ** 20 });
  const offsets = fc.integer({ min: 0, max: 2 ** 21 });
  fc.assert(
    fc.property(lengths, offsets, fc.boolean(), (length, offset, isWrite) => {
      const table = new BlockTable(1024);
      if (isWrite) table.insertData(1, offset, length, 1, 1, 5000);
      else table.insertRange(1, nodeKind.hole, offset, length, 1, 1, 5000);
      expect(table.count).toBeLessThanOrEqual(BlockTable.nodesFor(length, isWrite));
    }),
  );
});
