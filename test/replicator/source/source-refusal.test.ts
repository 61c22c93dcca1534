import { expect, test } from 'vitest';
import { generationOf, type Position } from '../../../src/group/catalog/lineage.ts';
import type { SourceJournal } from '../../../src/replicator/source/source-journal.ts';
import { refusalOf } from '../../../src/replicator/source/source-refusal.ts';
import type { JournalRead } from '../../../src/replicator/protocol/wire.ts';

const lineage = [
  { generation: 1, system: 1, incarnation: 11, firstNumber: 1 },
  { generation: 2, system: 2, incarnation: 22, firstNumber: 198 },
  { generation: 2, system: 2, incarnation: 23, firstNumber: 252 },
];

/** A secondary that has 324 updates, as its follower that is at `position` finds it. */
function codeAt(position: Position): string | undefined {
  const picture = {
    name: 'g',
    lineage,
    role: 'secondary',
    state: 'normal',
    isReadable: true,
    followers: [{ systemId: 7, name: 'b', state: 'following' }],
  };
  const watermarks = { released: 0, applied: 324, durable: 324, newest: 324 };
  const read: Pick<JournalRead, 'position'> = { position };
  const journal = { picture, watermarks } as unknown as SourceJournal;
  return refusalOf(journal, 7, read as JournalRead)?.error.code;
}

test('a follower that is ahead of a secondary is another history where its stretch is over there', () => {
  expect(codeAt({ generation: 1, incarnation: 11, number: 1005 })).toBe('diverged');
  expect(codeAt({ generation: 1, incarnation: 12, number: 1005 })).toBe('diverged');
  expect(codeAt({ generation: 2, incarnation: 22, number: 400 })).toBe('diverged');
});

test('one whose stretch the secondary may only not have heard of yet is waited for', () => {
  expect(codeAt({ generation: 2, incarnation: 23, number: 400 })).toBeUndefined();
  expect(codeAt({ generation: 2, incarnation: 24, number: 400 })).toBeUndefined();
  expect(codeAt({ generation: 1, incarnation: 11, number: 197 })).toBeUndefined();
  const later = { generation: generationOf(lineage) + 1, incarnation: 31, number: 400 };
  expect(codeAt(later)).toBe('generation_newer');
});
