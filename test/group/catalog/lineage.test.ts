import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  durableAtLastOpening,
  agreesAt,
  extendLineage,
  forkOf,
  type Lineage,
  lineageThrough,
  positionOf,
  stretchOf,
} from '../../../src/group/catalog/lineage.ts';

/** A system whose records carry who wrote them: the truth that lineages are to tell. */
interface ModelSystem {
  records: number[];
  lineage: Lineage;
}

type Step =
  | { readonly kind: 'open'; readonly at: number }
  | { readonly kind: 'promote'; readonly at: number }
  | { readonly kind: 'write'; readonly at: number; readonly count: number }
  | { readonly kind: 'follow'; readonly at: number; readonly from: number; readonly count: number }
  | { readonly kind: 'lose'; readonly at: number; readonly count: number };

const systems = 3;
const system = fc.nat({ max: systems - 1 });
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('open' as const), at: system }),
    fc.record({ kind: fc.constant('promote' as const), at: system }),
    fc.record({
      kind: fc.constant('write' as const),
      at: system,
      count: fc.integer({ min: 1, max: 5 }),
    }),
    fc.record({
      kind: fc.constant('follow' as const),
      at: system,
      from: system,
      count: fc.integer({ min: 1, max: 8 }),
    }),
    fc.record({
      kind: fc.constant('lose' as const),
      at: system,
      count: fc.integer({ min: 1, max: 3 }),
    }),
  ),
  { maxLength: 40 },
);

/** Each record is a number of its own, so two histories are the same exactly where records are. */
function run(all: readonly Step[]): ModelSystem[] {
  const fleet = Array.from({ length: systems }, (): ModelSystem => ({ records: [], lineage: [] }));
  let record = 0;
  let incarnation = 0;
  const begin = (at: number, generations: number): void => {
    const { records, lineage } = fleet[at] as ModelSystem;
    incarnation += 1;
    (fleet[at] as ModelSystem).lineage = extendLineage(lineage, {
      generation: (lineage.at(-1)?.generation ?? 1) + generations,
      system: at + 1,
      incarnation,
      firstNumber: records.length + 1,
    });
  };
  for (const step of all) {
    const own = fleet[step.at] as ModelSystem;
    switch (step.kind) {
      case 'open':
        begin(step.at, 0);
        break;
      case 'promote':
        begin(step.at, 1);
        break;
      case 'write': {
        if (own.lineage.at(-1)?.system !== step.at + 1) begin(step.at, 1);
        for (let i = 0; i < step.count; i += 1) own.records.push(++record);
        break;
      }
      case 'follow': {
        const source = fleet[step.from] as ModelSystem;
        const held = own.records.length;
        const agrees = agreesAt(source.lineage, positionOf(own.lineage, held));
        if (own === source || !agrees || source.records.length < held) break;
        own.records.push(...source.records.slice(held, held + step.count));
        own.lineage = lineageThrough(source.lineage, own.records.length);
        break;
      }
      case 'lose': {
        // What was not durable is gone, and was never seen by anyone; what an opening found was durable.
        const left = own.records.length - step.count;
        const isUnseen = fleet.every((other) => other === own || other.records.length <= left);
        if (isUnseen && left >= (own.lineage.at(-1)?.firstNumber ?? 1) - 1) {
          own.records.length = left;
          begin(step.at, 0);
        }
        break;
      }
    }
  }
  return fleet;
}

describe('lineage', () => {
  it('tells the position of a number', () => {
    const lineage: Lineage = [
      { generation: 1, system: 1, incarnation: 11, firstNumber: 1 },
      { generation: 1, system: 1, incarnation: 12, firstNumber: 5 },
      { generation: 2, system: 2, incarnation: 21, firstNumber: 9 },
    ];
    expect(positionOf(lineage, 0)).toEqual({ generation: 0, incarnation: 0, number: 0 });
    expect(positionOf(lineage, 8)).toEqual({ generation: 1, incarnation: 12, number: 8 });
    expect(positionOf(lineage, 9)).toEqual({ generation: 2, incarnation: 21, number: 9 });
    expect(stretchOf(lineage, 4)?.incarnation).toBe(11);
    expect(agreesAt(lineage, { generation: 1, incarnation: 11, number: 4 })).toBe(true);
    expect(agreesAt(lineage, { generation: 1, incarnation: 11, number: 5 })).toBe(false);
  });

  it('replaces an opening in which nothing was numbered', () => {
    const once = extendLineage([], { generation: 1, system: 1, incarnation: 11, firstNumber: 1 });
    const twice = extendLineage(once, {
      generation: 1,
      system: 1,
      incarnation: 12,
      firstNumber: 1,
    });
    expect(twice).toEqual([{ generation: 1, system: 1, incarnation: 12, firstNumber: 1 }]);
  });

  it('refuses a stretch from before', () => {
    const once = extendLineage([], { generation: 2, system: 1, incarnation: 11, firstNumber: 7 });
    expect(() => extendLineage(once, { ...(once[0] as Lineage[0]), firstNumber: 6 })).toThrow(
      'generation 2 from 6',
    );
    expect(() => extendLineage(once, { ...(once[0] as Lineage[0]), generation: 1 })).toThrow(
      'generation 1 from 7',
    );
  });

  it('finds where histories part, whatever the systems did', () => {
    fc.assert(
      fc.property(steps, (all) => {
        const fleet = run(all);
        for (const a of fleet) {
          for (const b of fleet) {
            const shorter = Math.min(a.records.length, b.records.length);
            let same = 0;
            while (same < shorter && a.records[same] === b.records[same]) same += 1;
            expect(forkOf(a.lineage, a.records.length, b.lineage, b.records.length)).toBe(same);
            for (let number = 1; number <= shorter; number += 1) {
              expect(agreesAt(b.lineage, positionOf(a.lineage, number))).toBe(number <= same);
            }
          }
        }
      }),
      { numRuns: 2000 },
    );
  });
});

it('what stood before the own newest stretch was durable; what stood before that of another was not, here', () => {
  const stretch = (system: number, firstNumber: number) => ({
    generation: 1,
    system,
    incarnation: firstNumber,
    firstNumber,
  });
  expect(durableAtLastOpening([], 7)).toBe(0);
  expect(durableAtLastOpening([stretch(7, 1), stretch(7, 42)], 7)).toBe(41);
  expect(durableAtLastOpening([stretch(7, 1), stretch(8, 42)], 7)).toBe(0);
});
