import { expect, it } from 'vitest';
import { CopyClock } from '../../src/control/copy-clock.ts';
import { missingContentsBytes } from '../../src/group/volumes/missing-contents.ts';
import { GiB, MiB } from '../../src/platform/limits.ts';
import { SimulatedClock } from '../simulation/simulated-clock.ts';

const volume = { id: 1, sizeBytes: GiB };

it('tells how much is missing, how fast it comes, and how long that takes', () => {
  const clock = new SimulatedClock();
  const copies = [{ volume: 1, address: 0 }];
  const group = { catalog: { volumes: [volume] }, follow: { state: { copies } } };
  const copyClock = new CopyClock(clock, { groups: new Map([['g', group]]) }, missingContentsBytes);
  expect(copyClock.contents(group)).toEqual({
    missingBytes: GiB,
    bytesPerSecond: 0,
    secondsLeft: null,
  });
  const copyFor = (seconds: number, bytesPerSecond: number): void => {
    for (let second = 0; second < seconds; second += 1) {
      const { address } = copies[0] ?? { address: 0 };
      copies[0] = { volume: 1, address: address + bytesPerSecond };
      clock.runFor(1000);
    }
  };
  copyFor(10, 10 * MiB);
  const steady = copyClock.contents(group);
  expect(steady?.missingBytes).toBe(GiB - 100 * MiB);
  expect(steady?.bytesPerSecond).toBe(10 * MiB);
  expect(steady?.secondsLeft).toBeCloseTo(92.4, 1);

  copyFor(5, 0);
  expect(copyClock.contents(group)?.bytesPerSecond).toBe(5 * MiB);

  copies.splice(0);
  expect(copyClock.contents(group)).toBeNull();
  copyClock.close();
});
