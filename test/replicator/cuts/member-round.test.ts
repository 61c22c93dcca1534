import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { assert } from '../../../src/platform/assert.ts';
import {
  MemberRound,
  type MemberRoundState,
  MemberRounds,
  memberRoundTransitions,
} from '../../../src/replicator/cuts/member-round.ts';

const idOf = (cutId: string, sequence: number) => ({
  cutId,
  epoch: 1n,
  sequence: BigInt(sequence),
});

/** Whether it could be. */
function commits(round: MemberRound): boolean {
  try {
    round.committed();
    return true;
  } catch {
    return false;
  }
}

const event = fc.constantFrom('told', 'end', 'commit');

describe('a round at a member', () => {
  test('says yes only where it held from the marker on until it was asked first, and then always', () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(fc.array(event, { maxLength: 12 }), (events) => {
        const round = new MemberRound(idOf('a', 1), 7, 1);
        let isOver = false;
        let answer: boolean | undefined;
        for (const what of events) {
          const before: MemberRoundState = round.state;
          if (what === 'told') {
            answer ??= !isOver;
            isOver = true;
            assert(round.told() === answer, `it says what it said, ${String(answer)}`);
          }
          if (what === 'end') {
            round.end();
            if (!isOver) answer = false;
            isOver = true;
          }
          if (what === 'commit') {
            const mayCommit = round.state === 'held' || round.state === 'committed';
            assert(mayCommit === commits(round), `${before} is committed: ${mayCommit}`);
          }
          expect(round.holds).toBe(!isOver);
          if (round.state !== before) seen.add(`${before} ${round.state}`);
        }
      }),
      { numRuns: 2000 },
    );
    const all = Object.entries(memberRoundTransitions).flatMap(([from, states]) =>
      states.map((to) => `${from} ${to}`),
    );
    expect([...seen].sort()).toEqual(all.sort());
  });
});

describe('the rounds of a group', () => {
  test('hold behind the lowest marker of those that are open, one of each cut', () => {
    const step = fc.record({
      kind: fc.constantFrom('begin', 'told', 'end'),
      cut: fc.constantFrom('a', 'b', 'c'),
      at: fc.nat({ max: 20 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const rounds = new MemberRounds();
        const open = new Map<string, MemberRound>();
        const begun: MemberRound[] = [];
        for (const { kind, cut, at } of steps) {
          if (kind === 'begin') {
            const number = begun.length + 1;
            const round = rounds.begin(idOf(cut, number), number, 1);
            begun.push(round);
            open.set(cut, round);
          }
          const round = begun[at];
          if (round && kind === 'told') {
            const isOpen = open.get(round.id.cutId) === round;
            const wasHeld = round.state === 'held';
            assert(round.told() === (isOpen || wasHeld), `held: ${isOpen || wasHeld}`);
            if (isOpen) open.delete(round.id.cutId);
          }
          if (round && kind === 'end' && open.get(round.id.cutId) === round) {
            round.end();
            open.delete(round.id.cutId);
          }
          const numbers = [...open.values()].map(({ number }) => number);
          const lowest = numbers.length === 0 ? undefined : Math.min(...numbers);
          expect(rounds.heldBehind).toBe(lowest);
          for (const known of begun) {
            const isNewest = !begun.some(
              (other) => other.id.cutId === known.id.cutId && other.number > known.number,
            );
            expect(rounds.find(known.id)).toBe(isNewest ? known : undefined);
          }
        }
      }),
    );
  });
});
