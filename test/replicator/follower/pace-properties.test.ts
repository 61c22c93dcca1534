import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { paceBatchBytesMax, paceBatchBytesMin } from '../../../src/platform/limits.ts';
import { type PaceInput, paceInputs } from '../../../src/platform/pace-settings.ts';
import {
  applyShareMin,
  decidePace,
  hasRoom,
  type PaceDecision,
  type PaceLimit,
  pauseMillisecondsMax,
  type PaceSituation,
  longPollMilliseconds,
} from '../../../src/replicator/follower/pace.ts';
import { noMeasures, noteRead, noteStart } from '../../../src/replicator/follower/pace-measures.ts';
import {
  adaptiveSettings,
  anyInputs,
  anyMeasures,
  anySettings,
  anySituation,
  GiB,
  MiB,
  now,
} from './pace-setting.ts';

const share = fc.double({ min: 0, max: 1, noNaN: true });
/** Rounding in the last place of a time is no change of order. */
const tiny = 1e-6;

/** Decisions at two values of one thing, the lower one first, all else the same. */
function compare(
  change: (situation: PaceSituation, share: number) => PaceSituation,
  check: (lower: PaceDecision, higher: PaceDecision) => void,
): void {
  fc.assert(
    fc.property(
      adaptiveSettings,
      anyMeasures,
      anySituation,
      share,
      share,
      (settings, measures, situation, a, b) => {
        const at = (value: number) => decidePace(settings, measures, change(situation, value));
        check(at(Math.min(a, b)), at(Math.max(a, b)));
      },
    ),
    { numRuns: 1000 },
  );
}

describe('bounds', () => {
  it('always hold', () => {
    const limits: PaceLimit[] = ['none', 'nothing-new', 'interval', ...paceInputs];
    fc.assert(
      fc.property(anySettings, anyMeasures, anySituation, (settings, measures, situation) => {
        const decision = decidePace(settings, measures, situation);
        const pauseMax =
          settings.pace.mode === 'interval'
            ? Math.max(settings.pace.intervalMilliseconds, pauseMillisecondsMax)
            : pauseMillisecondsMax;
        expect(decision.readAtMilliseconds).toBeGreaterThanOrEqual(now);
        expect(decision.readAtMilliseconds).toBeLessThanOrEqual(now + pauseMax);
        expect(Number.isInteger(decision.batchBytes)).toBe(true);
        expect(decision.batchBytes).toBeGreaterThanOrEqual(paceBatchBytesMin);
        expect(decision.batchBytes).toBeLessThanOrEqual(paceBatchBytesMax);
        expect(decision.waitMilliseconds).toBeGreaterThanOrEqual(0);
        expect(decision.waitMilliseconds).toBeLessThanOrEqual(longPollMilliseconds);
        expect(decision.applyShare).toBeGreaterThanOrEqual(applyShareMin - tiny);
        expect(decision.applyShare).toBeLessThanOrEqual(1);
        expect(limits).toContain(decision.limitedBy);
      }),
      { numRuns: 5000 },
    );
  });

  it('hold for what the own journal and the memory have room for', () => {
    fc.assert(
      fc.property(anySettings, anyMeasures, anySituation, (settings, measures, situation) => {
        const { usedBytes, capacityBytes } = situation.ownJournal;
        const room = capacityBytes - usedBytes - situation.link.inFlightBytes;
        const { batchBytes } = decidePace(settings, measures, situation);
        expect(batchBytes).toBeLessThanOrEqual(Math.max(paceBatchBytesMin, room));
        expect(batchBytes).toBeLessThanOrEqual(situation.receiveBytesMax);
      }),
    );
  });
});

it('never starves: whatever the situation, the end of a pause comes when nothing happens', () => {
  fc.assert(
    fc.property(
      anySettings,
      anyMeasures,
      fc.array(anySituation, { minLength: 1, maxLength: 20 }),
      (settings, measures, situations) => {
        const start = measures.lastStartMilliseconds ?? now;
        const pauseMax =
          settings.pace.mode === 'interval'
            ? Math.max(settings.pace.intervalMilliseconds, pauseMillisecondsMax)
            : pauseMillisecondsMax;
        for (const [at, situation] of situations.entries()) {
          const asked = { ...situation, nowMilliseconds: start + pauseMax + at };
          const { readAtMilliseconds } = decidePace(settings, measures, asked);
          expect(readAtMilliseconds).toBe(asked.nowMilliseconds);
        }
      },
    ),
  );
});

it("never waits while the source's journal is nearly full and the own one has room", () => {
  let count = 0;
  fc.assert(
    fc.property(
      anyInputs,
      anyMeasures,
      anySituation,
      fc.double({ min: 0.8, max: 1, noNaN: true }),
      (inputs, measures, situation, fill) => {
        if (!situation.source || !hasRoom(situation)) return;
        count += 1;
        const full = { capacityBytes: GiB, usedBytes: Math.ceil(fill * GiB) };
        const decision = decidePace(
          {
            pace: {
              mode: 'adaptive',
              inputs: [...new Set([...inputs, 'source-journal' as const])],
            },
            batchSize: 'adaptive',
          },
          measures,
          { ...situation, source: { ...situation.source, fill: full } },
        );
        expect(decision.readAtMilliseconds).toBe(now);
      },
    ),
    { numRuns: 1000 },
  );
  expect(count).toBeGreaterThan(100);
});

describe('in each input', () => {
  it('later and less, but applied no slower, the fuller the own journal', () => {
    compare(
      (situation, fill) => ({
        ...situation,
        ownJournal: { capacityBytes: GiB, usedBytes: fill * GiB },
      }),
      (empty, full) => {
        expect(full.readAtMilliseconds).toBeGreaterThanOrEqual(empty.readAtMilliseconds - tiny);
        expect(full.batchBytes).toBeLessThanOrEqual(empty.batchBytes);
        expect(full.applyShare).toBeGreaterThanOrEqual(empty.applyShare - tiny);
      },
    );
  });

  it('later and applied slower, the more loaded this system', () => {
    compare(
      (situation, load) => ({
        ...situation,
        ownLoad: { eventLoopDelayMilliseconds: load * 150, processorShare: 0 },
      }),
      (idle, busy) => {
        expect(busy.readAtMilliseconds).toBeGreaterThanOrEqual(idle.readAtMilliseconds - tiny);
        expect(busy.batchBytes).toBe(idle.batchBytes);
        expect(busy.applyShare).toBeLessThanOrEqual(idle.applyShare + tiny);
      },
    );
  });

  it("sooner and more, the fuller the source's journal", () => {
    compare(
      (situation, fill) => ({
        ...situation,
        source: {
          released: 0,
          durable: situation.position,
          ...situation.source,
          fill: { capacityBytes: GiB, usedBytes: fill * GiB },
        },
      }),
      (empty, full) => {
        expect(full.readAtMilliseconds).toBeLessThanOrEqual(empty.readAtMilliseconds + tiny);
        expect(full.batchBytes).toBeGreaterThanOrEqual(empty.batchBytes);
        expect(full.applyShare).toBe(empty.applyShare);
      },
    );
  });

  it('sooner, the further ahead the source', () => {
    compare(
      (situation, ahead) => ({
        ...situation,
        source: {
          fill: { capacityBytes: GiB, usedBytes: 0 },
          released: 0,
          ...situation.source,
          durable: situation.position + Math.floor(ahead * 100_000),
        },
      }),
      (near, far) => {
        expect(far.readAtMilliseconds).toBeLessThanOrEqual(near.readAtMilliseconds + tiny);
        expect(far.batchBytes).toBeGreaterThanOrEqual(near.batchBytes);
      },
    );
  });

  it('sooner and more, the faster the link', () => {
    compare(
      (situation, speed) => ({
        ...situation,
        link: { ...situation.link, bytesPerMillisecond: 1 + speed * 100_000 },
      }),
      (slow, fast) => {
        expect(fast.readAtMilliseconds).toBeLessThanOrEqual(slow.readAtMilliseconds + tiny);
        expect(fast.batchBytes).toBeGreaterThanOrEqual(slow.batchBytes);
      },
    );
  });

  it('later, the more is on its way', () => {
    compare(
      (situation, part) => ({
        ...situation,
        link: { ...situation.link, inFlightBytes: Math.floor(part * 64 * MiB) },
      }),
      (little, much) => {
        expect(much.readAtMilliseconds).toBeGreaterThanOrEqual(little.readAtMilliseconds - tiny);
        expect(much.batchBytes).toBeLessThanOrEqual(little.batchBytes);
      },
    );
  });

  it('sooner, the more a read brought', () => {
    fc.assert(
      fc.property(
        anyInputs,
        anySituation,
        fc.integer({ min: 1, max: 4 * MiB }),
        fc.integer({ min: 1, max: 4 * MiB }),
        (inputs, situation, a, b) => {
          const after = (bytes: number) => {
            const read = {
              startedAtMilliseconds: now,
              endedAtMilliseconds: now + 10,
              askedBytes: 4 * MiB,
              bytes,
              records: Math.ceil(bytes / 4096),
            };
            const measures = noteRead(noteStart(noMeasures, now), read);
            // Nothing is known to be there, so the size of records says nothing about what is left.
            const quiet = { ...situation, source: undefined };
            const settings = { pace: { mode: 'adaptive', inputs }, batchSize: 'adaptive' } as const;
            return decidePace(settings, measures, quiet);
          };
          const [little, much] = [after(Math.min(a, b)), after(Math.max(a, b))];
          expect(much.readAtMilliseconds).toBeLessThanOrEqual(little.readAtMilliseconds + tiny);
          expect(much.batchBytes).toBeGreaterThanOrEqual(little.batchBytes);
        },
      ),
      { numRuns: 1000 },
    );
  });
});

describe('an input that is not selected', () => {
  const without: [PaceInput, (situation: PaceSituation) => PaceSituation][] = [
    [
      'link',
      (situation) => ({
        ...situation,
        link: { ...situation.link, bytesPerMillisecond: 1, roundTripMilliseconds: 100 },
      }),
    ],
    [
      'own-load',
      (situation) => ({
        ...situation,
        ownLoad: { eventLoopDelayMilliseconds: 1000, processorShare: 1 },
      }),
    ],
    [
      'source-journal',
      (situation) =>
        situation.source
          ? {
              ...situation,
              source: { ...situation.source, fill: { usedBytes: 1, capacityBytes: 1 } },
            }
          : situation,
    ],
  ];

  it.each(without)('decides nothing: %s', (input, change) => {
    fc.assert(
      fc.property(adaptiveSettings, anyMeasures, anySituation, (settings, measures, situation) => {
        const { pace } = settings;
        if (pace.mode !== 'adaptive') return;
        const inputs = pace.inputs.filter((each) => each !== input);
        const other = { ...settings, pace: { ...pace, inputs } };
        expect(decidePace(other, measures, change(situation))).toEqual(
          decidePace(other, measures, situation),
        );
      }),
    );
  });

  it('decides nothing: own-journal, while it has room for every batch', () => {
    fc.assert(
      fc.property(adaptiveSettings, anyMeasures, anySituation, share, (given, ...rest) => {
        const [measures, situation, fill] = rest;
        const { pace } = given;
        if (pace.mode !== 'adaptive') return;
        const inputs = pace.inputs.filter((each) => each !== 'own-journal' && each !== 'own-load');
        const settings = { ...given, pace: { ...pace, inputs } };
        const at = (usedShare: number) =>
          decidePace(settings, measures, {
            ...situation,
            ownJournal: { capacityBytes: 1024 * GiB, usedBytes: usedShare * 1023 * GiB },
          });
        // The one thing that no input overrides is that a journal that is nearly full is not hurried.
        const isHurried = inputs.includes('source-journal');
        expect({ ...at(isHurried ? fill * 0.85 : fill) }).toEqual(at(0));
      }),
    );
  });
});
