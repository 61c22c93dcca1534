import { describe, expect, it } from 'vitest';
import { LagClock } from '../../src/control/lag-clock.ts';
import { Watermarks } from '../../src/journal/watermarks.ts';
import { SimulatedClock } from '../simulation/simulated-clock.ts';

function start() {
  const clock = new SimulatedClock();
  const watermarks = new Watermarks({ released: 0, applied: 0, durable: 0 });
  const group = { watermarks };
  const lag = new LagClock(clock, { groups: new Map([['g', group]]) });
  return {
    clock,
    watermarks,
    age: (number: number) => lag.ageSeconds(group, number),
    write: (count: number): void => {
      for (let i = 0; i < count; i += 1) watermarks.next();
    },
  };
}

describe('the age of the oldest update that is not there yet', () => {
  it('is 0 while all is there, however long ago the last one was written', () => {
    const { clock, watermarks, age, write } = start();
    write(3);
    clock.runFor(5000);
    expect(age(3)).toBe(0);
    watermarks.setDurable(3);
    watermarks.setApplied(3);
    clock.runFor(60_000);
    expect(age(watermarks.applied)).toBe(0);
  });

  it('grows from when it was written, to a tenth of a second', () => {
    const { clock, age, write } = start();
    clock.runFor(10_000);
    write(1);
    clock.runFor(2000);
    write(1);
    clock.runFor(3000);
    expect(age(0)).toBeGreaterThanOrEqual(5);
    expect(age(0)).toBeLessThan(5.2);
    expect(age(1)).toBeGreaterThanOrEqual(3);
    expect(age(1)).toBeLessThan(3.2);
  });

  it('begins anew after a pause in which all was there', () => {
    const { clock, watermarks, age, write } = start();
    write(1);
    watermarks.setDurable(1);
    watermarks.setApplied(1);
    clock.runFor(30_000);
    write(1);
    clock.runFor(1000);
    expect(age(1)).toBeLessThan(1.2);
  });

  it('stays right within its own length over days of falling behind', () => {
    const { clock, age, write } = start();
    for (let hour = 0; hour < 50; hour += 1) {
      write(1000);
      clock.runFor(3_600_000);
    }
    expect(age(0)).toBeGreaterThanOrEqual(50 * 3600);
    expect(age(0)).toBeLessThan(50 * 3600 + 1);
    expect(age(49_999)).toBeGreaterThanOrEqual(3600);
    expect(age(49_999)).toBeLessThan(2 * 3600 + 1);
  });
});
