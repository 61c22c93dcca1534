import { describe, expect, it } from 'vitest';
import { paceBatchBytesMax, paceBatchBytesMin } from '../../../src/platform/limits.ts';
import { paceInputs } from '../../../src/platform/pace-settings.ts';
import {
  applyShareMin,
  decidePace,
  pauseMillisecondsMax,
  type PaceSituation,
  longPollMilliseconds,
} from '../../../src/replicator/follower/pace.ts';
import { noMeasures, type PaceMeasures } from '../../../src/replicator/follower/pace-measures.ts';
import { calm, GiB, MiB, now, settings, steady } from './pace-setting.ts';

function decide(
  pace: string,
  measures: PaceMeasures,
  situation: PaceSituation,
  batchSize = 'adaptive',
) {
  const decision = decidePace(settings(pace, batchSize), measures, situation);
  return { ...decision, pause: decision.readAtMilliseconds - now };
}

function ownJournal(fill: number) {
  return { ownJournal: { usedBytes: fill * GiB, capacityBytes: GiB } };
}

function source(fill: number, { released = 900, durable = 1000 } = {}) {
  return { source: { fill: { usedBytes: fill * GiB, capacityBytes: GiB }, released, durable } };
}

const idle = { eventLoopDelayMilliseconds: 0, processorShare: 0 };
const busy = { eventLoopDelayMilliseconds: 200, processorShare: 0.5 };

describe('the first read', () => {
  it.each(['immediate', 'interval:5s', 'adaptive'])('is made at once: %s', (pace) => {
    const first = decide(pace, noMeasures, calm({ source: undefined }));
    expect(first).toMatchObject({ pause: 0, limitedBy: 'none', applyShare: 1 });
  });
});

describe('immediate', () => {
  it('reads again at once, and waits at the source', () => {
    expect(decide('immediate', steady(), calm())).toMatchObject({
      pause: 0,
      waitMilliseconds: longPollMilliseconds,
      limitedBy: 'nothing-new',
    });
    expect(decide('immediate', steady(), calm(source(0, { durable: 1001 })))).toMatchObject({
      pause: 0,
      limitedBy: 'none',
    });
  });

  it('minds neither load nor how full a journal is', () => {
    const situation = calm({ ownLoad: busy, ...ownJournal(0.9), ...source(1) });
    expect(decide('immediate', steady(), situation)).toMatchObject({ pause: 0, applyShare: 1 });
  });

  it('tells soon what is applied meanwhile', () => {
    const { waitMilliseconds } = decide('immediate', steady(), calm({ toldApplied: 999 }));
    expect(waitMilliseconds).toBeLessThan(1000);
    expect(waitMilliseconds).toBeGreaterThan(0);
  });
});

describe('an interval', () => {
  it('lies between the starts of two reads', () => {
    const decision = decide('interval:5s', steady({ lastStartMilliseconds: now - 2000 }), calm());
    expect(decision).toMatchObject({ pause: 3000, waitMilliseconds: 0, limitedBy: 'interval' });
    const due = decide('interval:5s', steady({ lastStartMilliseconds: now - 5000 }), calm());
    expect(due.pause).toBe(0);
  });

  it('begins when there is nothing more to read', () => {
    const behind = calm(source(0, { durable: 1_000_000 }));
    expect(decide('interval:5s', steady(), behind)).toMatchObject({ pause: 0, limitedBy: 'none' });
    // What a busy host wrote since is for the next time.
    expect(decide('interval:5s', steady(), calm(source(0, { durable: 1050 }))).pause).toBe(5000);
    // A source that has more but does not give it is not pressed.
    const empty = steady({ broughtNothing: true });
    expect(decide('interval:5s', empty, behind).pause).toBe(5000);
  });

  it('is fixed', () => {
    const situation = calm({ ownLoad: busy, ...ownJournal(0.9), ...source(1) });
    expect(decide('interval:5s', steady(), situation).pause).toBe(5000);
  });
});

describe('adaptive to the records that come', () => {
  it('gathers them for a moment', () => {
    const { pause, limitedBy } = decide('adaptive:records', steady(), calm());
    expect(pause).toBe(50);
    expect(limitedBy).toBe('records');
  });

  it('gathers for less time the more comes', () => {
    const pauses = [1, 10, 100, 1000].map((times) => {
      const measures = steady({ bytes: times * 800 * 4096, records: times * 800 });
      return decide('adaptive:records', measures, calm()).pause;
    });
    expect(pauses[0]).toBe(50);
    expect(pauses[1]).toBeLessThan(50);
    expect(pauses[2]).toBeLessThan(5);
    expect(pauses[3]).toBeLessThan(1);
  });

  it('goes by their number where they are small', () => {
    const measures = steady({ bytes: 800 * 100 * 40, records: 800 * 100 });
    expect(decide('adaptive:records', measures, calm()).pause).toBeCloseTo(10.24);
  });

  it('does not gather what is known to be there', () => {
    const behind = calm(source(0, { durable: 2000 }));
    expect(decide('adaptive:records', steady(), behind)).toMatchObject({
      pause: 0,
      limitedBy: 'none',
    });
  });

  it('waits at the source after a read that brought nothing', () => {
    const decision = decide('adaptive:records', steady({ broughtNothing: true }), calm());
    expect(decision).toMatchObject({ pause: 0, limitedBy: 'nothing-new' });
    expect(decision.waitMilliseconds).toBe(longPollMilliseconds);
  });

  it('asks for as much as came of late', () => {
    const measures = steady({ batchBytes: 3 * MiB });
    expect(decide('adaptive:records', measures, calm()).batchBytes).toBe(3 * MiB);
    expect(decide('adaptive:link', measures, calm()).batchBytes).toBe(paceBatchBytesMax);
  });
});

describe('adaptive to the link', () => {
  const behind = source(0, { durable: 1_000_000 });
  const link = (bytesPerMillisecond: number, inFlightBytes = 0, roundTripMilliseconds = 0) => {
    return { ...behind, link: { bytesPerMillisecond, inFlightBytes, roundTripMilliseconds } };
  };

  it('asks for what a quarter of a second brings', () => {
    const decision = decide('adaptive:link', steady(), calm(link(8 * 1024)));
    expect(decision).toMatchObject({ batchBytes: 2000 * 1024, pause: 0, limitedBy: 'link' });
    expect(decide('adaptive:link', steady(), calm(link(1))).batchBytes).toBe(paceBatchBytesMin);
    const fast = decide('adaptive:link', steady(), calm(link(2 ** 20)));
    expect(fast).toMatchObject({ batchBytes: paceBatchBytesMax, limitedBy: 'none' });
  });

  it('asks for no more while enough is on its way', () => {
    expect(decide('adaptive:link', steady(), calm(link(1024, 500 * 1024))).pause).toBe(0);
    expect(decide('adaptive:link', steady(), calm(link(1024, 700 * 1024)))).toMatchObject({
      pause: 200,
      limitedBy: 'link',
    });
  });

  it('keeps more on its way where the way is long', () => {
    expect(decide('adaptive:link', steady(), calm(link(1024, 700 * 1024, 100))).pause).toBe(0);
  });

  it('knows nothing before the first bytes', () => {
    const unknown = {
      bytesPerMillisecond: undefined,
      inFlightBytes: MiB,
      roundTripMilliseconds: 0,
    };
    const decision = decide('adaptive:link', steady(), calm({ ...behind, link: unknown }));
    expect(decision).toMatchObject({ pause: 0, batchBytes: paceBatchBytesMax, limitedBy: 'none' });
  });
});

describe('adaptive to the own journal', () => {
  it('slows down before it is full', () => {
    const pauses = [0.5, 0.7, 0.8, 0.9, 0.99].map(
      (fill) => decide('adaptive:own-journal', steady(), calm(ownJournal(fill))).pause,
    );
    expect(pauses.slice(0, 2)).toEqual([0, 0]);
    expect(pauses[2]).toBeGreaterThan(50);
    expect(pauses[3]).toBeGreaterThan(400);
    expect(pauses[4]).toBe(pauseMillisecondsMax);
    const slow = decide('adaptive:own-journal', steady(), calm(ownJournal(0.9)));
    expect(slow.limitedBy).toBe('own-journal');
  });

  it('asks for a part of the room', () => {
    const situation = calm({
      ownJournal: { usedBytes: GiB - 20 * MiB, capacityBytes: GiB },
      link: { bytesPerMillisecond: undefined, inFlightBytes: 4 * MiB, roundTripMilliseconds: 0 },
    });
    expect(decide('adaptive:own-journal', steady(), situation).batchBytes).toBe(4 * MiB);
  });

  it.each(['immediate', 'interval:100ms', 'adaptive', 'adaptive:link'])(
    'and %s too tries again later, and no more than fits, once it is full',
    (pace) => {
      const situation = calm({
        ownJournal: { usedBytes: GiB - 100_000, capacityBytes: GiB },
        ...source(1, { durable: 1_000_000 }),
      });
      expect(decide(pace, steady(), situation)).toMatchObject({
        pause: pauseMillisecondsMax,
        batchBytes: paceBatchBytesMin,
        waitMilliseconds: 0,
        limitedBy: 'own-journal',
      });
      const nearly = calm({ ownJournal: { usedBytes: GiB - MiB, capacityBytes: GiB } });
      expect(decide(pace, steady(), nearly, '16MiB').batchBytes).toBe(MiB);
    },
  );
});

describe('adaptive to the own load', () => {
  it('reads less often and applies less the busier it is', () => {
    const decisions = [0, 50, 100].map((eventLoopDelayMilliseconds) => {
      const ownLoad = { eventLoopDelayMilliseconds, processorShare: 0 };
      const behind = source(0, { durable: 1_000_000 });
      return decide('adaptive:own-load', steady(), calm({ ownLoad, ...behind }));
    });
    expect(decisions[0]).toMatchObject({ pause: 0, applyShare: 1, limitedBy: 'none' });
    expect(decisions[0]?.batchBytes).toBe(paceBatchBytesMax);
    expect(decisions[1]).toMatchObject({ limitedBy: 'own-load' });
    expect(decisions[1]?.pause).toBeGreaterThan(30);
    expect(decisions[1]?.applyShare).toBeLessThan(0.7);
    // Each read may bring as much as ever.
    expect(decisions[2]).toMatchObject({ pause: 200, batchBytes: paceBatchBytesMax });
    expect(decisions[2]?.applyShare).toBeCloseTo(applyShareMin);
  });

  it('knows it by the processors as well', () => {
    const ownLoad = { ...idle, processorShare: 1 };
    expect(decide('adaptive:own-load', steady(), calm({ ownLoad })).pause).toBe(200);
    expect(decide('adaptive:own-load', steady(), calm({ ownLoad: idle })).pause).toBe(0);
  });

  it('applies for all that before the own journal is full', () => {
    const shares = [0, 0.5, 0.65, 0.8].map((fill) => {
      return decide('adaptive:own-load', steady(), calm({ ownLoad: busy, ...ownJournal(fill) }))
        .applyShare;
    });
    expect(shares[1]).toBeCloseTo(applyShareMin);
    expect(shares[2]).toBeGreaterThan(0.6);
    expect(shares[3]).toBe(1);
  });
});

describe("adaptive to the source's journal", () => {
  const hurry = (fill: number, watermarks = {}) =>
    decide('adaptive', steady(), calm({ ownLoad: busy, ...source(fill, watermarks) }));

  it('does not wait while it is nearly full', () => {
    expect(hurry(0.5)).toMatchObject({ pause: 200, limitedBy: 'own-load' });
    expect(hurry(0.65).pause).toBeCloseTo(100);
    const nearlyFull = hurry(0.8, { durable: 1001 });
    expect(nearlyFull).toMatchObject({ pause: 0, limitedBy: 'source-journal' });
    expect(nearlyFull.batchBytes).toBe(paceBatchBytesMax);
  });

  it('hurries sooner when what fills it waits for this follower', () => {
    expect(hurry(0.5, { released: 1000, durable: 1_000_000 }).pause).toBe(0);
    expect(hurry(0.5, { released: 0, durable: 1000 }).pause).toBe(200);
  });

  it('slows down for a full journal of its own all the same', () => {
    const pause = (fill: number) =>
      decide('adaptive', steady(), calm({ ...source(1), ...ownJournal(fill) })).pause;
    expect(pause(0.89)).toBe(0);
    expect(pause(0.9)).toBeGreaterThan(400);
  });

  it('is nothing to a pace that does not go by it', () => {
    const situation = calm({ ownLoad: busy, ...source(1) });
    expect(decide('adaptive:own-load', steady(), situation).pause).toBe(200);
  });
});

describe('a batch', () => {
  it('of a fixed size keeps it', () => {
    const situation = calm({
      ownLoad: busy,
      link: { bytesPerMillisecond: 1, inFlightBytes: 0, roundTripMilliseconds: 0 },
    });
    for (const pace of ['immediate', 'interval:1s', 'adaptive']) {
      expect(decide(pace, steady(), situation, '3MiB').batchBytes).toBe(3 * MiB);
    }
  });

  it('is never more than there is memory for', () => {
    for (const size of ['adaptive', '3MiB']) {
      const { batchBytes } = decide('immediate', steady(), calm({ receiveBytesMax: MiB }), size);
      expect(batchBytes).toBe(MiB);
    }
  });

  it('adapts under a fixed interval too', () => {
    const link = { bytesPerMillisecond: 2048, inFlightBytes: 0, roundTripMilliseconds: 0 };
    for (const pace of ['immediate', 'interval:1s']) {
      const { batchBytes } = decide(pace, steady(), calm({ link }));
      expect(batchBytes).toBe(500 * 1024);
    }
  });
});

it('says which of several inputs decided', () => {
  const all = `adaptive:${paceInputs.join(',')}`;
  expect(decide(all, steady(), calm()).limitedBy).toBe('records');
  expect(decide(all, steady(), calm({ ownLoad: busy })).limitedBy).toBe('own-load');
  expect(decide(all, steady(), calm({ ownLoad: busy, ...ownJournal(0.94) })).limitedBy).toBe(
    'own-journal',
  );
});
