import { expect, test } from 'vitest';
import { ProcessClock, SimulatedClock } from './simulated-clock.ts';
import { SimulatedRandom } from './simulated-random.ts';
import { spawnSimulatedWorker } from './simulated-worker.ts';

test('events happen at their time, in the order of their times, then of their making', () => {
  const clock = new SimulatedClock();
  const happened: string[] = [];
  const note = (what: string) => () =>
    happened.push(`${what} ${Math.floor(clock.monotonicMilliseconds())}`);
  clock.after(20, note('late'));
  clock.after(10, note('first of two'));
  clock.after(10, note('second of two'));
  clock.after(5, () => clock.after(1, note('nested')));
  clock.after(0, note('at once'));
  expect(happened).toEqual([]);
  clock.runUntilIdle();
  expect(happened).toEqual([
    'at once 0',
    'nested 6',
    'first of two 10',
    'second of two 10',
    'late 20',
  ]);
});

test('soon comes before what is later, but not for ever', () => {
  const clock = new SimulatedClock();
  const happened: string[] = [];
  clock.after(0, () => {
    happened.push('input');
    clock.soon(() => happened.push('soon'));
  });
  clock.after(0, () => happened.push('later input'));
  clock.runUntilIdle();
  expect(happened).toEqual(['input', 'soon', 'later input']);
  let polls = 0;
  let isDone = false;
  const poll = (): void => {
    polls++;
    if (!isDone) clock.soon(poll);
  };
  clock.soon(poll);
  clock.after(1, () => {
    isDone = true;
  });
  clock.runUntilIdle();
  expect(polls).toBeGreaterThan(100);
});

test('a thousand events in random order come out in order, without those cancelled', () => {
  const clock = new SimulatedClock();
  const random = new SimulatedRandom('heap');
  const due: number[] = [];
  const happened: number[] = [];
  for (let round = 0; round < 5000; round++) {
    const at = random.int(1000);
    const timer = clock.after(at, () => happened.push(at));
    if (random.chance(0.6)) timer.cancel();
    else due.push(at);
  }
  clock.runUntilIdle();
  expect(happened).toEqual(due.sort((left, right) => left - right));
});

test('a timer cancelled by an earlier one, or after it ran, does nothing', () => {
  const clock = new SimulatedClock();
  const happened: string[] = [];
  const second = clock.after(2, () => happened.push('second'));
  const first = clock.after(1, () => {
    happened.push('first');
    second.cancel();
  });
  clock.runUntilIdle();
  first.cancel();
  expect(happened).toEqual(['first']);
  expect(clock.step()).toBe(false);
});

test('the wall clock jumps; the other one does not', () => {
  const clock = new SimulatedClock(1_000_000);
  clock.runFor(500);
  const before = clock.monotonicMilliseconds();
  expect(clock.wallMilliseconds()).toBe(1_000_500);
  clock.jumpWall(-600_000);
  expect(clock.wallMilliseconds()).toBe(400_500);
  expect(clock.monotonicMilliseconds()).toBe(before);
});

test('what is due while the thread is held up happens late', () => {
  const clock = new SimulatedClock();
  let at = 0;
  clock.after(10, () => {
    at = clock.monotonicMilliseconds();
  });
  clock.after(1, () => clock.block(100));
  clock.runUntilIdle();
  expect(Math.floor(at)).toBe(101);
});

test('running for a time stops at its end', () => {
  const clock = new SimulatedClock();
  let ticks = 0;
  const tick = (): void => {
    ticks++;
    clock.after(20, tick);
  };
  clock.after(20, tick);
  clock.runFor(1000);
  expect(ticks).toBeGreaterThanOrEqual(49);
  expect(ticks).toBeLessThanOrEqual(50);
  expect(() => clock.runUntilIdle(100)).toThrow('not idle');
});

test('promises go on between events', async () => {
  const clock = new SimulatedClock();
  const wait = (milliseconds: number): Promise<void> =>
    new Promise((resolve) => clock.after(milliseconds, resolve));
  async function work(): Promise<number> {
    for (let round = 0; round < 10; round++) await wait(100);
    return Math.floor(clock.monotonicMilliseconds());
  }
  expect(await clock.run(work())).toBe(1000);
  await expect(clock.run(wait(5000), 1000)).rejects.toThrow('1000 ms passed');
  await expect(clock.run(new Promise(() => {}), 10_000)).rejects.toThrow('nothing is scheduled');
  await expect(clock.run(Promise.reject(new Error('as it failed')))).rejects.toThrow(
    'as it failed',
  );
});

test('nothing of a dead process happens any more', () => {
  const clock = new SimulatedClock();
  const dying = new ProcessClock(clock);
  const living = new ProcessClock(clock);
  const happened: string[] = [];
  dying.after(10, () => happened.push('dying'));
  dying.soon(() => happened.push('dying soon'));
  living.after(10, () => happened.push('living'));
  dying.kill();
  clock.runUntilIdle();
  expect(happened).toEqual(['living']);
});

test('a worker gets and answers messages in order, later, and only what can be cloned', () => {
  const clock = new SimulatedClock();
  const random = new SimulatedRandom('worker');
  interface Request {
    readonly number: number;
    readonly own: Uint8Array;
    readonly shared: Int32Array;
  }
  const port = spawnSimulatedWorker<Request, number>(clock, random, (side) => {
    side.receive(({ number, own, shared }) => {
      own[0] = 99;
      shared[0] = number;
      side.post(number);
    });
  });
  const answers: number[] = [];
  port.receive((answer) => answers.push(answer));
  const own = new Uint8Array(1);
  const shared = new Int32Array(new SharedArrayBuffer(4));
  const numbers = Array.from({ length: 100 }, (_, number) => number);
  for (const number of numbers) port.post({ number, own, shared });
  expect(answers).toEqual([]);
  clock.runUntilIdle();
  expect(answers).toEqual(numbers);
  expect(own[0]).toBe(0);
  expect(shared[0]).toBe(99);
  expect(clock.monotonicMilliseconds()).toBeGreaterThan(0.5);
  expect(() => port.post({ number: 1, own, shared, run: () => {} } as Request)).toThrow('clone');
});

test('a closed worker neither gets nor answers anything, and one of a dead process neither', async () => {
  const clock = new SimulatedClock();
  const process = new ProcessClock(clock);
  const happened: string[] = [];
  const spawn = (): ReturnType<typeof spawnSimulatedWorker<string, string>> =>
    spawnSimulatedWorker<string, string>(process, new SimulatedRandom(2), (side) => {
      side.receive((text) => {
        happened.push(text);
        side.post(text);
      });
    });
  const closed = spawn();
  closed.receive((text) => happened.push(`answer to ${text}`));
  closed.post('to closed');
  await closed.close();
  closed.post('after closing');
  const orphan = spawn();
  orphan.receive((text) => happened.push(`answer to ${text}`));
  orphan.post('to orphan');
  clock.step();
  process.kill();
  clock.runUntilIdle();
  expect(happened).toEqual([]);
});

test('what arrives before the receiver is kept for it', () => {
  const clock = new SimulatedClock();
  const received: string[] = [];
  const port = spawnSimulatedWorker<string, string>(clock, new SimulatedRandom(3), (side) => {
    clock.after(50, () => side.receive((text) => received.push(text)));
  });
  port.post('one');
  port.post('two');
  clock.after(50.0005, () => port.post('three'));
  clock.runUntilIdle();
  expect(received).toEqual(['one', 'two', 'three']);
});

test('chance repeats by its seed, and forks are streams of their own', () => {
  const draw = (random: SimulatedRandom): number[] =>
    Array.from({ length: 20 }, () => random.next());
  expect(draw(new SimulatedRandom(7))).toEqual(draw(new SimulatedRandom(7)));
  expect(draw(new SimulatedRandom(7))).not.toEqual(draw(new SimulatedRandom(8)));
  const parent = new SimulatedRandom(7);
  const before = draw(parent.fork('a'));
  parent.next();
  expect(draw(parent.fork('a'))).toEqual(before);
  expect(draw(parent.fork('b'))).not.toEqual(before);
  const random = new SimulatedRandom(9);
  const counts = Array.from({ length: 10 }, () => 0);
  for (let round = 0; round < 100_000; round++) {
    const value = random.int(10);
    counts[value] = (counts[value] ?? 0) + 1;
  }
  for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(500);
  for (let round = 0; round < 1000; round++) {
    const large = random.int(2 ** 48);
    expect(Number.isSafeInteger(large) && large >= 0 && large < 2 ** 48).toBe(true);
    const between = random.between(5, 7);
    expect(between >= 5 && between <= 7).toBe(true);
  }
  expect(new Set(random.bytes(1000)).size).toBeGreaterThan(200);
});
