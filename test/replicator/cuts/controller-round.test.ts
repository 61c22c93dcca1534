import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  ControllerRound,
  type RoundPhase,
  roundTransitions,
} from '../../../src/replicator/cuts/controller-round.ts';

const members = 3;
const asked: readonly RoundPhase[] = ['claiming', 'marking', 'telling', 'committing'];
const answer = fc.record({
  phase: fc.constantFrom<RoundPhase>(...asked),
  member: fc.nat(2),
  isYes: fc.boolean(),
});
/** Mostly what the round waits for. */
const course = fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), answer), {
  minLength: 20,
  maxLength: 60,
});

/** What was said in the phase, by member. */
type Said = ReadonlyMap<number, boolean>;

function phaseAfter(phase: RoundPhase, said: Said): RoundPhase {
  const all = [...said.values()];
  const isFull = all.length === members;
  switch (phase) {
    case 'done':
    case 'aborted':
      return phase;
    case 'committing':
      return !isFull ? phase : all.includes(true) ? 'done' : 'aborted';
    default:
      if (all.includes(false)) return 'aborted';
      return isFull ? (asked[asked.indexOf(phase) + 1] ?? 'done') : phase;
  }
}

test('a round goes on once all said yes, and ends with the first no, but for the commit', () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(course, fc.boolean(), (answers, isClaimed) => {
      const round = new ControllerRound(members, isClaimed);
      expect(round.phase).toBe(isClaimed ? 'marking' : 'claiming');
      let said = new Map<number, boolean>();
      for (const [luck, { phase: any, member, isYes }] of answers) {
        const before = round.phase;
        const phase = luck > 1 ? before : any;
        const yes = isYes || (luck > 2 && before !== 'committing');
        // Who is late, or says two things, is not heard.
        if (phase === before && !said.has(member)) said.set(member, yes);
        round.answered(phase, member, yes ? undefined : `${member} says no`);
        expect(round.phase).toBe(phaseAfter(before, said));
        if (round.phase === before) continue;
        seen.add(`${before} ${round.phase}`);
        said = new Map();
      }
      expect(round.reason === '').toBe(round.phase !== 'aborted');
    }),
    { numRuns: 1000 },
  );
  const all = Object.entries(roundTransitions).flatMap(([from, states]) =>
    states.map((to) => `${from} ${to}`),
  );
  expect([...seen].sort()).toEqual(all.sort());
});
