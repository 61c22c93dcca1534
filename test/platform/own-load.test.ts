import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { type LoadWatch, processorTicks, watchLoad } from '../../src/platform/own-load.ts';
import { sleep } from '../support/children.ts';

let watch: LoadWatch | undefined;
afterEach(() => watch?.close());

describe('processors', () => {
  it('are busy when they are neither idle nor waiting', () => {
    const stat = 'cpu  10 20 30 400 50 6 7 8 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n';
    expect(processorTicks(stat)).toEqual({ busy: 81, all: 531 });
    expect(processorTicks(readFileSync('/proc/stat', 'utf8'))?.all).toBeGreaterThan(0);
  });

  it.each(['', 'cpu0 1 2 3 4 5', 'cpu  1 2', 'cpu  a b c d e f'])('are unknown in %j', (stat) => {
    expect(processorTicks(stat)).toBeUndefined();
  });

  it('are looked at once a second', () => {
    let now = 0;
    let ticks = [100, 1000];
    const stat = () => `cpu  ${ticks[0]} 0 0 ${ticks[1]} 0 0 0 0`;
    watch = watchLoad(stat, () => now);
    expect(watch.read().processorShare).toBe(0);
    ticks = [190, 1010];
    now = 999;
    expect(watch.read().processorShare).toBe(0);
    now = 1000;
    expect(watch.read().processorShare).toBeCloseTo(0.9);
    now = 2000;
    expect(watch.read().processorShare).toBe(0);
    ticks = [0, 0];
    now = 3000;
    expect(watch.read().processorShare).toBe(0);
  });
});

describe('the event loop', () => {
  it('is late by what held it up', async () => {
    let now = 0;
    watch = watchLoad(
      () => '',
      () => now,
    );
    await sleep(50);
    const until = performance.now() + 300;
    while (performance.now() < until);
    await sleep(50);
    now = 1000;
    const { eventLoopDelayMilliseconds, processorShare } = watch.read();
    expect(eventLoopDelayMilliseconds).toBeGreaterThan(150);
    expect(processorShare).toBe(0);
  });
});
