import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  considerRelief,
  type LoadSample,
  type ReliefState,
} from '../../../src/replicator/roles/relief-policy.ts';

const busy: LoadSample = { processorShare: 0.95, eventLoopDelayMilliseconds: 1 };
const late: LoadSample = { processorShare: 0.1, eventLoopDelayMilliseconds: 80 };
const middling: LoadSample = { processorShare: 0.75, eventLoopDelayMilliseconds: 30 };
const calm: LoadSample = { processorShare: 0.2, eventLoopDelayMilliseconds: 2 };

function wishes(samples: readonly LoadSample[], isAway = false): string[] {
  let state: ReliefState = { isAway, streak: 0 };
  return samples.map((sample) => {
    const decided = considerRelief(state, sample);
    state = decided.state;
    return decided.wish;
  });
}

describe('another source', () => {
  test('is wished for when the preferred one was busy three times in a row', () => {
    expect(wishes([busy, late, 'unreachable'])).toEqual(['stay', 'stay', 'leave']);
    expect(wishes([busy, busy, middling, busy, busy])).not.toContain('leave');
    expect(wishes([busy, busy, busy, busy, busy, busy]).filter((each) => each === 'leave')).toEqual(
      ['leave', 'leave'],
    );
  });

  test('is left when the preferred one was calm for a minute', () => {
    const eleven = Array.from({ length: 11 }, () => calm);
    expect(wishes(eleven, true)).not.toContain('return');
    expect(wishes([...eleven, calm], true).at(-1)).toBe('return');
    expect(wishes([...eleven, middling, calm], true)).not.toContain('return');
    expect(wishes([...eleven, 'unreachable', calm], true)).not.toContain('return');
  });

  test('nothing between busy and calm changes anything, and nothing calm makes anybody leave', () => {
    const sample = fc.constantFrom<LoadSample>(busy, late, middling, calm, 'unreachable');
    fc.assert(
      fc.property(fc.array(sample), (samples) => {
        const quiet = samples.filter((each) => each === middling || each === calm);
        expect(wishes(quiet)).not.toContain('leave');
        const loud = samples.filter((each) => each !== calm);
        expect(wishes(loud, true)).not.toContain('return');
      }),
    );
  });
});
