import fc from 'fast-check';
import { expect, test } from 'vitest';
import { agreesAt, type Lineage, positionOf } from '../../../src/group/catalog/lineage.ts';
import {
  addShown,
  isSameShown,
  partedContents,
  type ShownContents,
  stillShown,
} from '../../../src/group/volumes/shown-contents.ts';

const nothing: ShownContents = { shows: 0 };

function stretch(generation: number, firstNumber: number, incarnation = generation) {
  return { generation, system: generation, incarnation, firstNumber };
}

function group(lineage: Lineage, newest: number, contents: ShownContents) {
  const state = { ...contents } as never;
  return { catalog: { lineage }, watermarks: { newest }, follow: { state } };
}

const common = [stretch(1, 1)];
const other = [...common, stretch(2, 301)];

test('what contents show is of the history that is received, or is not', () => {
  const contents = addShown(nothing, positionOf(common, 400));
  expect(contents.shows).toBe(400);
  expect(partedContents(group(common, 276, contents))).toBeUndefined();
  expect(partedContents(group(common, 400, contents))).toBeUndefined();
  const told = { lineage: other, newest: 300 };
  expect(partedContents(group(common, 276, contents), told)?.number).toBe(400);
  expect(partedContents(group(other, 301, contents))?.number).toBe(400);
  expect(partedContents(group(other, 500, contents))?.number).toBe(400);
  // One that lags behind, and has not heard of what comes.
  expect(partedContents(group(common, 276, contents), { lineage: common, newest: 300 })).toBe(
    undefined,
  );
});

test('a stretch of the same generation that begins later is waited for', () => {
  const again = [...common, stretch(1, 350, 7)];
  const contents = addShown(nothing, positionOf(again, 400));
  expect(partedContents(group(common, 276, contents))).toBeUndefined();
  expect(partedContents(group(again, 400, contents))).toBeUndefined();
  expect(partedContents(group(common, 400, contents))?.number).toBe(400);
});

test('of each stretch the highest number is kept, until it is received', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom(1, 2, 3), fc.integer({ min: 1, max: 600 }))),
      fc.integer({ min: 0, max: 600 }),
      (pieces, newest) => {
        let contents = nothing;
        for (const [generation, number] of pieces) {
          contents = addShown(contents, { generation, incarnation: generation, number });
        }
        const highest = Math.max(0, ...pieces.map(([, number]) => number));
        expect(contents.shows).toBe(highest);
        const left = stillShown(contents, group(other, newest, contents));
        for (const [generation, number] of pieces) {
          const isLast = !pieces.some(([of, at]) => of === generation && at > number);
          const position = { generation, incarnation: generation, number };
          const isProved = number <= newest && agreesAt(other, position);
          const isThere = left.shown?.some((each) => isSame(each, position)) ?? false;
          expect(isThere).toBe(isLast && !isProved);
        }
        expect(isSameShown(left, stillShown(left, group(other, newest, left)))).toBe(true);
        expect(partedContents(group(other, newest, left))).toEqual(
          partedContents(group(other, newest, contents)),
        );
      },
    ),
  );
});

function isSame(one: object, another: object): boolean {
  return JSON.stringify(one) === JSON.stringify(another);
}
