import { describe, expect, it } from 'vitest';
import { type Course, follow } from './paced-follower.ts';
import { GiB, MiB, settings } from './pace-setting.ts';

const recordBytes = 4096;

/** Two systems side by side, and a host that writes 500 blocks a second. */
function course(changes: Partial<Course> = {}): Course {
  return {
    recordsPerMillisecond: () => 0.5,
    linkBytesPerMillisecond: MiB,
    roundTripMilliseconds: 0.3,
    applyRecordsPerMillisecond: () => 1000,
    sourceCapacityBytes: 8 * GiB,
    ownCapacityBytes: 8 * GiB,
    eventLoopDelayMilliseconds: 0,
    milliseconds: 10_000,
    ...changes,
  };
}

describe('a follower of a host that writes little', () => {
  it('reads immediately, each record by itself', () => {
    const outcome = follow(settings('immediate'), course());
    expect(outcome.reads).toBeGreaterThan(4000);
    expect(outcome.lagMilliseconds).toBeLessThan(3);
  });

  it('or gathers, and is hardly later', () => {
    const outcome = follow(settings('adaptive'), course());
    expect(outcome.reads).toBeLessThan(300);
    expect(outcome.lagMilliseconds).toBeLessThan(60);
    expect(outcome.records).toBeGreaterThan(4900);
  });

  it('has a single record at once', () => {
    const outcome = follow(
      settings('adaptive'),
      course({ recordsPerMillisecond: (now) => (now % 1000 < 0.1 ? 10 : 0) }),
    );
    expect(outcome.records).toBeGreaterThanOrEqual(9);
    expect(outcome.lagMilliseconds).toBeLessThan(2);
  });

  it('comes at its interval', () => {
    const outcome = follow(settings('interval:1s'), course());
    expect(outcome.reads).toBeLessThanOrEqual(12);
    expect(outcome.lagMilliseconds).toBeGreaterThan(900);
    expect(outcome.lagMilliseconds).toBeLessThan(1100);
  });
});

describe('a follower of a host that writes much', () => {
  const much = course({ recordsPerMillisecond: () => 80 });

  it.each(['adaptive', 'adaptive:records', 'adaptive:link', 'immediate'])(
    'keeps up: %s',
    (pace) => {
      const outcome = follow(settings(pace), much);
      expect(outcome.lagMilliseconds).toBeLessThan(60);
      expect(outcome.records).toBeGreaterThan(80 * 9900);
    },
  );

  it('reads in steady steps', () => {
    const { reads, records } = follow(settings('adaptive'), much);
    expect((records / reads) * recordBytes).toBeGreaterThan(0.5 * MiB);
  });

  it('reads all there is at each interval', () => {
    const outcome = follow(settings('interval:1s', '1MiB'), much);
    expect(outcome.lagMilliseconds).toBeLessThan(1600);
    expect(outcome.records).toBeGreaterThan(80 * 8000);
  });
});

describe('a follower on a system that is busy', () => {
  it('has its records all the same', () => {
    const busy = course({ recordsPerMillisecond: () => 15, eventLoopDelayMilliseconds: 500 });
    const outcome = follow(settings('adaptive:own-load'), busy);
    expect(outcome.lagMilliseconds).toBeLessThan(500);
    expect(outcome.reads).toBeLessThan(60);
  });
});

describe('a follower that is far behind', () => {
  const backlog = (2 * GiB) / recordBytes;

  it.each([
    ['a short way', 0.3, MiB],
    ['a long way', 20, 100 * 1024],
  ])('uses the link, over %s', (_, roundTripMilliseconds, linkBytesPerMillisecond) => {
    const best = (backlog * recordBytes) / linkBytesPerMillisecond;
    const outcome = follow(
      settings('adaptive'),
      course({ backlog, roundTripMilliseconds, linkBytesPerMillisecond, milliseconds: best * 1.5 }),
    );
    expect(outcome.caughtUpAtMilliseconds).toBeLessThan(best * 1.25);
  });

  it('asks for little at a time where the link is slow', () => {
    const slow = course({ backlog, linkBytesPerMillisecond: 1024, recordsPerMillisecond: () => 0 });
    const { reads } = follow(settings('adaptive'), slow);
    // A quarter of a second each.
    expect(reads).toBeGreaterThan(20);
    expect(reads).toBeLessThan(60);
  });
});

describe('a follower whose own journal', () => {
  const backlog = GiB / recordBytes;

  it('is full reads no more than fits, and goes on when there is room', () => {
    const ownCapacityBytes = 128 * MiB;
    const outcome = follow(
      settings('adaptive'),
      course({
        backlog,
        ownCapacityBytes,
        applyRecordsPerMillisecond: (now) => (now < 5000 ? 0 : 1000),
      }),
    );
    expect(outcome.limits.get('own-journal')).toBeGreaterThan(1000);
    // What finds no room is dropped by the follower, once a second.
    expect(outcome.ownUsedBytesMax).toBeLessThan(ownCapacityBytes + 6 * 0.25 * MiB);
    expect(outcome.caughtUpAtMilliseconds).toBeLessThan(9000);
  });

  it('fills slower than the source is pressed: the source keeps its room', () => {
    const loaded = course({
      recordsPerMillisecond: () => 40,
      sourceCapacityBytes: 256 * MiB,
      eventLoopDelayMilliseconds: 200,
    });
    const [hurried, calm] = ['adaptive', 'adaptive:own-load'].map((pace) =>
      follow(settings(pace), loaded),
    );
    expect(calm?.sourceUsedBytesMax).toBeGreaterThan(256 * MiB);
    expect(hurried?.sourceUsedBytesMax).toBeLessThan(200 * MiB);
    expect(hurried?.limits.get('own-load')).toBeGreaterThan(100);
  });
});
