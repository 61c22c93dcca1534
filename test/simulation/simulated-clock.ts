import { must } from '../../src/platform/assert.ts';
import type { Clock, Timer } from '../../src/platform/clock.ts';
import { settlePromises } from './settled-promises.ts';

/** Time goes by a little with everything that happens: who polls does not poll for ever. */
const eventMicroseconds = 1;

class ScheduledEvent implements Timer {
  readonly atMicroseconds: number;
  readonly number: number;
  run: (() => void) | undefined;
  readonly #clock: SimulatedClock;

  constructor(clock: SimulatedClock, atMicroseconds: number, number: number, run: () => void) {
    this.#clock = clock;
    this.atMicroseconds = atMicroseconds;
    this.number = number;
    this.run = run;
  }

  cancel(): void {
    if (this.run === undefined) return;
    this.run = undefined;
    this.#clock.cancelled();
  }

  isBefore(other: ScheduledEvent): boolean {
    if (this.atMicroseconds !== other.atMicroseconds) {
      return this.atMicroseconds < other.atMicroseconds;
    }
    return this.number < other.number;
  }
}

/**
 * Time of a whole simulated world: nothing happens but what is scheduled here, one after the other,
 * in the same order each time. Processes use a `ProcessClock` of it.
 */
export class SimulatedClock implements Clock {
  #nowMicroseconds = 0;
  #wallOffsetMilliseconds: number;
  #numbers = 0;
  #heap: ScheduledEvent[] = [];
  #cancelled = 0;
  #soon: (() => void)[] = [];
  #soonBefore: (() => void)[] = [];
  #soonAt = 0;
  #events = 0;
  #blockedMicroseconds = 0;

  constructor(wallStartMilliseconds = Date.UTC(2030, 0, 1)) {
    this.#wallOffsetMilliseconds = wallStartMilliseconds;
  }

  wallMilliseconds(): number {
    return Math.floor(this.#nowMicroseconds / 1000 + this.#wallOffsetMilliseconds);
  }

  monotonicMilliseconds(): number {
    return this.#nowMicroseconds / 1000;
  }

  after(milliseconds: number, run: () => void): Timer {
    const at = this.#nowMicroseconds + Math.max(0, Math.round(milliseconds * 1000));
    const event = new ScheduledEvent(this, at, this.#numbers++, run);
    this.#push(event);
    return event;
  }

  soon(run: () => void): void {
    this.#soon.push(run);
  }

  /** The wall clock is set forward or back, as by an administrator or a time server. */
  jumpWall(milliseconds: number): void {
    this.#wallOffsetMilliseconds += milliseconds;
  }

  /** Time that passes while the thread is held up: what was due meanwhile happens late. */
  block(milliseconds: number): void {
    const microseconds = Math.max(0, Math.round(milliseconds * 1000));
    this.#nowMicroseconds += microseconds;
    this.#blockedMicroseconds += microseconds;
  }

  /** How long the thread was held up in all. */
  get blockedMilliseconds(): number {
    return this.#blockedMicroseconds / 1000;
  }

  /** Events so far. */
  get events(): number {
    return this.#events;
  }

  /** Lets the next thing happen, waiting for it where need be; false when there is nothing. */
  step(): boolean {
    return this.#step(Number.POSITIVE_INFINITY);
  }

  #step(untilMicroseconds: number): boolean {
    const run = this.#takeSoon() ?? this.#takeDue(untilMicroseconds);
    if (run === undefined) return false;
    this.#nowMicroseconds += eventMicroseconds;
    this.#events++;
    run();
    return true;
  }

  /** What was asked for soon happens before what comes later, but what is due gets its turn between rounds. */
  #takeSoon(): (() => void) | undefined {
    if (this.#soonAt < this.#soonBefore.length) {
      return must(this.#soonBefore[this.#soonAt++], 'within the round');
    }
    const isRoundOver = this.#soonBefore.length > 0;
    this.#soonBefore.length = 0;
    this.#soonAt = 0;
    if (this.#soon.length === 0 || (isRoundOver && this.#isSomethingDue())) return undefined;
    const empty = this.#soonBefore;
    this.#soonBefore = this.#soon;
    this.#soon = empty;
    return must(this.#soonBefore[this.#soonAt++], 'a round has something');
  }

  #isSomethingDue(): boolean {
    const first = this.#first();
    return first !== undefined && first.atMicroseconds <= this.#nowMicroseconds;
  }

  #takeDue(untilMicroseconds: number): (() => void) | undefined {
    const first = this.#first();
    if (first === undefined || first.atMicroseconds > untilMicroseconds) return undefined;
    this.#pop();
    this.#nowMicroseconds = Math.max(this.#nowMicroseconds, first.atMicroseconds);
    const run = must(first.run, 'a cancelled event is not first');
    first.run = undefined;
    return run;
  }

  /**
   * Runs for that long, without promises: what waits for one goes on after this returned. Returns
   * the number of events.
   */
  runFor(milliseconds: number): number {
    const until = this.#nowMicroseconds + Math.round(milliseconds * 1000);
    const before = this.#events;
    while (this.#step(until)) if (this.#nowMicroseconds > until) break;
    this.#nowMicroseconds = Math.max(this.#nowMicroseconds, until);
    return this.#events - before;
  }

  /** Runs until nothing is scheduled. Throws after `eventsMax`: periodic timers never end. */
  runUntilIdle(eventsMax = 1_000_000): number {
    const before = this.#events;
    while (this.#step(Number.POSITIVE_INFINITY)) {
      if (this.#events - before > eventsMax) throw new Error(`not idle after ${eventsMax} events`);
    }
    return this.#events - before;
  }

  /**
   * Runs until `isDone`, letting promises settle after every event. Throws where that takes longer
   * than `milliseconds` of simulated time, or where nothing is scheduled any more.
   */
  async runUntil(isDone: () => boolean, milliseconds = 60_000): Promise<void> {
    const until = this.#nowMicroseconds + milliseconds * 1000;
    await settlePromises();
    while (!isDone()) {
      if (!this.#step(until)) {
        const why =
          this.#first() === undefined ? 'nothing is scheduled' : `${milliseconds} ms passed`;
        throw new Error(`still not done: ${why}`);
      }
      await settlePromises();
    }
  }

  /** The value of a promise that this world is to settle. */
  async run<T>(promise: Promise<T>, milliseconds = 60_000): Promise<T> {
    let isSettled = false;
    const settle = (): void => {
      isSettled = true;
    };
    promise.then(settle, settle);
    await this.runUntil(() => isSettled, milliseconds);
    return promise;
  }

  /** For the events: one of those waiting was cancelled. */
  cancelled(): void {
    this.#cancelled++;
    if (this.#cancelled < 1000 || this.#cancelled < this.#heap.length / 2) return;
    const waiting = this.#heap.filter((event) => event.run !== undefined);
    this.#cancelled = 0;
    this.#heap = [];
    for (const event of waiting) this.#push(event);
  }

  #first(): ScheduledEvent | undefined {
    let first = this.#heap[0];
    while (first !== undefined && first.run === undefined) {
      this.#pop();
      this.#cancelled--;
      first = this.#heap[0];
    }
    return first;
  }

  #push(event: ScheduledEvent): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = must(heap[parentAt], 'a parent is in the heap');
      if (parent.isBefore(event)) break;
      heap[at] = parent;
      at = parentAt;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let childAt = 2 * at + 1;
      let child = heap[childAt];
      if (child === undefined) break;
      const right = heap[childAt + 1];
      if (right?.isBefore(child)) {
        child = right;
        childAt++;
      }
      if (last.isBefore(child)) break;
      heap[at] = child;
      at = childAt;
    }
    heap[at] = last;
  }
}

/** One process's clock: when the process dies, nothing that it scheduled happens any more. */
export class ProcessClock implements Clock {
  readonly #clock: SimulatedClock;
  #isDead = false;

  constructor(clock: SimulatedClock) {
    this.#clock = clock;
  }

  kill(): void {
    this.#isDead = true;
  }

  wallMilliseconds(): number {
    return this.#clock.wallMilliseconds();
  }

  monotonicMilliseconds(): number {
    return this.#clock.monotonicMilliseconds();
  }

  after(milliseconds: number, run: () => void): Timer {
    return this.#clock.after(milliseconds, () => {
      if (!this.#isDead) run();
    });
  }

  soon(run: () => void): void {
    this.#clock.soon(() => {
      if (!this.#isDead) run();
    });
  }
}
