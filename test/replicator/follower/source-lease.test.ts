import { describe, expect, test } from 'vitest';
import { SourceLease } from '../../../src/replicator/follower/source-lease.ts';

/** Two clocks that are moved apart. */
class Clocks {
  monotonic = 1000;
  wall = 1_700_000_000_000;

  readonly clock = {
    monotonicMilliseconds: () => this.monotonic,
    wallMilliseconds: () => this.wall,
    after: () => ({ cancel: () => undefined }),
    soon: () => undefined,
  };

  pass(milliseconds: number): void {
    this.monotonic += milliseconds;
    this.wall += milliseconds;
  }
}

function heard(clocks: Clocks): SourceLease {
  const lease = new SourceLease(clocks.clock, 7);
  lease.begin(3);
  lease.told({ heard: lease.sent() });
  return lease;
}

describe('the lease of a follower', () => {
  test('counts from when the acknowledgement that counted was sent', () => {
    const clocks = new Clocks();
    const lease = new SourceLease(clocks.clock, 7);
    lease.begin(3);
    expect(lease.leftMilliseconds(5000)).toBe(0);
    const serial = lease.sent();
    clocks.pass(1000);
    lease.sent();
    clocks.pass(1000);
    lease.told({ heard: serial });
    expect(lease.leftMilliseconds(5000)).toBeCloseTo(2950);
    clocks.pass(3000);
    expect(lease.leftMilliseconds(5000)).toBe(0);
  });

  test('is over when the machine was paused, as the clock on the wall says', () => {
    const clocks = new Clocks();
    const lease = heard(clocks);
    clocks.wall += 60_000;
    expect(lease.leftMilliseconds(5000)).toBe(0);
    lease.told({ heard: lease.sent() });
    expect(lease.leftMilliseconds(5000)).toBeCloseTo(4950);
  });

  test('is no longer for a clock on the wall that was set back', () => {
    const clocks = new Clocks();
    const lease = heard(clocks);
    clocks.wall -= 3_600_000;
    clocks.pass(4000);
    expect(lease.leftMilliseconds(5000)).toBeCloseTo(950);
    clocks.pass(1000);
    expect(lease.leftMilliseconds(5000)).toBe(0);
  });

  test('is over when this system says so, and with another source', () => {
    const clocks = new Clocks();
    const lease = heard(clocks);
    const late = lease.sent();
    lease.end();
    lease.told({ heard: late });
    expect(lease.leftMilliseconds(5000)).toBe(0);
    lease.told({ heard: lease.sent() });
    lease.begin(4);
    expect(lease.leftMilliseconds(5000)).toBe(0);
  });
});
