import { describe, expect, test } from 'vitest';
import { EventHistory } from '../../src/control/events.ts';
import { systemEvent } from '../../src/control/schema-events.ts';
import { SimulatedClock } from '../simulation/simulated-clock.ts';

async function codes(history: EventHistory, since = 0): Promise<string[]> {
  const found: string[] = [];
  for await (const { code } of history.read(since)) found.push(code);
  return found;
}

describe('what happened', () => {
  test('is there in order, each with a number and a time', async () => {
    const clock = new SimulatedClock();
    const history = new EventHistory(clock);
    history.add('first', 'it began', { group: 'g' });
    clock.block(1000);
    const between = clock.wallMilliseconds();
    history.add('second', 'it went wrong', { group: 'g', nextCommand: 'jnbd status', pid: 7 });
    const all = [];
    for await (const event of history.read(0)) all.push(systemEvent.parse(event));
    expect(all).toMatchObject([
      { sequence: 1, code: 'first', severity: 'info', group: 'g', nextCommand: null },
      { sequence: 2, code: 'second', severity: 'warning', nextCommand: 'jnbd status' },
    ]);
    expect(await codes(history, between)).toEqual(['second']);
    expect(await codes(history, between + 1)).toEqual([]);
  });

  test('is forgotten beyond a number of events, and of bytes', async () => {
    const clock = new SimulatedClock();
    const few = new EventHistory(clock, { eventsMax: 3, bytesMax: 1_000_000 });
    for (let i = 1; i <= 10; i += 1) few.add(`e${i}`, 'text');
    expect(await codes(few)).toEqual(['e8', 'e9', 'e10']);
    const small = new EventHistory(clock, { eventsMax: 1000, bytesMax: 5000 });
    for (let i = 1; i <= 10; i += 1) small.add(`e${i}`, 'x'.repeat(1000));
    expect(await codes(small)).toEqual(['e9', 'e10']);
    const tiny = new EventHistory(clock, { eventsMax: 1000, bytesMax: 10 });
    tiny.add('one', 'is more than there is room for');
    expect(await codes(tiny)).toEqual(['one']);
  });

  test('is followed until that is ended, with what was missed meanwhile counted', async () => {
    const history = new EventHistory(new SimulatedClock(), { eventsMax: 3, bytesMax: 1_000_000 });
    history.add('before', 'text');
    const abort = new AbortController();
    const reading = history.read(0, abort.signal);
    expect((await reading.next()).value).toMatchObject({ code: 'before' });
    const waiting = reading.next();
    history.add('e2', 'text');
    expect((await waiting).value).toMatchObject({ code: 'e2', sequence: 2 });
    for (let i = 3; i <= 9; i += 1) history.add(`e${i}`, 'text');
    expect((await reading.next()).value).toMatchObject({
      code: 'events_left_out',
      sequence: 6,
      message: expect.stringContaining('4 events') as string,
    });
    for (const sequence of [7, 8, 9]) {
      expect((await reading.next()).value).toMatchObject({ code: `e${sequence}`, sequence });
    }
    const last = reading.next();
    history.add('stopping', 'text');
    abort.abort();
    expect((await last).value).toMatchObject({ code: 'stopping' });
    expect((await reading.next()).done).toBe(true);
  });
});
