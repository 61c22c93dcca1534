import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { blockBytes, segmentBytes } from '../../src/platform/limits.ts';
import { type ApplyStep, planSteps } from '../../src/volume/apply-plan.ts';
import { BlockTable } from '../../src/volume/block-table.ts';
import { nodeKind } from '../../src/volume/node-kind.ts';
import { shortBytes, ShortPayloads, windowBytes } from '../../src/volume/short-payloads.ts';
import { tableArrays } from '../../src/volume/table-arrays.ts';

const step: fc.Arbitrary<ApplyStep> = fc.record({
  kind: fc.constant(nodeKind.data),
  volume: fc.constantFrom(1, 300, 65_535),
  offset: fc.integer({ min: 0, max: 2 ** 33 - 1 }).map((block) => block * blockBytes + 17),
  length: fc.integer({ min: 1, max: shortBytes - 1 }),
  segment: fc.oneof(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 65_535 })),
  segmentOffset: fc.integer({ min: 4096, max: segmentBytes - shortBytes }),
});

const windowOf = ({ segment, segmentOffset }: ApplyStep): number =>
  segment * (segmentBytes / windowBytes) + Math.floor(segmentOffset / windowBytes);

test('payloads come by windows of the journal, and within one as they were added', () => {
  const payloads = new ShortPayloads();
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      payloads.clear();
      for (const added of steps) payloads.add(added);
      payloads.sort();
      // Array.prototype.sort keeps the order of what is equal.
      const expected = [...steps].sort((a, b) => windowOf(a) - windowOf(b));
      expect(payloads.count).toBe(steps.length);
      for (const [at, { volume, offset, length, segment, segmentOffset }] of expected.entries()) {
        expect(payloads.volume(at)).toBe(volume);
        expect(payloads.offset(at)).toBe(offset);
        expect(payloads.length(at)).toBe(length);
        expect(payloads.segment(at)).toBe(segment);
        expect(payloads.segmentOffset(at)).toBe(segmentOffset);
      }
      let windows = 0;
      for (let at = 0; at < payloads.count; at = payloads.windowEnd(at)) windows += 1;
      expect(windows).toBe(new Set(steps.map(windowOf)).size);
    }),
  );
});

test('what a table changes is on no heap while it is planned', () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const nodes = 2 ** 18;
  const table = new BlockTable(nodes);
  for (let i = 0; i < nodes; i += 1) {
    const sequence = 1 + Math.floor(i / 4000);
    const block = (i * 7919) % nodes;
    const at = 4096 + (i % 4000) * (blockBytes + 28);
    table.insertData(1, block * 2 * blockBytes, blockBytes, i + 1, sequence, at);
  }
  const payloads = new ShortPayloads();
  collect();
  const before = process.memoryUsage();
  planSteps(tableArrays(table.memory), table.count, [], (planned) => payloads.add(planned));
  payloads.sort();
  collect();
  const after = process.memoryUsage();
  expect(payloads.count).toBe(nodes);
  // As objects they took more than 100 bytes each.
  expect(after.heapUsed - before.heapUsed).toBeLessThan(nodes * 8);
  expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(nodes * 40);
});
