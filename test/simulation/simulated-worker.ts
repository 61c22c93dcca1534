import { assert, must } from '../../src/platform/assert.ts';
import type { Clock } from '../../src/platform/clock.ts';
import type { WorkerPort } from '../../src/platform/worker-port.ts';
import type { SimulatedRandom } from './simulated-random.ts';

const delayMillisecondsMax = 1;

/** One end of a port whose two ends are in the same thread. */
class SimulatedPort<Sent, Received> implements WorkerPort<Sent, Received> {
  readonly #clock: Clock;
  readonly #random: SimulatedRandom;
  #other: SimulatedPort<Received, Sent> | undefined;
  #handler: ((message: Received) => void) | undefined;
  /** What arrived before anybody received. */
  #early: Received[] = [];
  #lastArrivalMilliseconds = 0;
  #isClosed = false;

  constructor(clock: Clock, random: SimulatedRandom) {
    this.#clock = clock;
    this.#random = random;
  }

  join(other: SimulatedPort<Received, Sent>): void {
    this.#other = other;
  }

  post(message: Sent, givenAway: readonly ArrayBuffer[] = []): void {
    if (this.#isClosed) return;
    // As between threads: only what can be cloned, and no memory in common but what is shared.
    const clone = cloneOf(message, givenAway);
    const now = this.#clock.monotonicMilliseconds();
    const delay = this.#random.fraction() * delayMillisecondsMax;
    this.#lastArrivalMilliseconds = Math.max(this.#lastArrivalMilliseconds, now + delay);
    const other = must(this.#other, 'a port was joined');
    this.#clock.after(this.#lastArrivalMilliseconds - now, () => other.#arrive(clone));
  }

  receive(handler: (message: Received) => void): void {
    assert(this.#handler === undefined, 'a port has one receiver');
    this.#handler = handler;
    if (this.#early.length > 0) this.#clock.soon(() => this.#deliverEarly(handler));
  }

  #deliverEarly(handler: (message: Received) => void): void {
    const early = this.#early;
    this.#early = [];
    for (const message of early) if (!this.#isClosed) handler(message);
  }

  #arrive(message: Received): void {
    if (this.#isClosed) return;
    if (this.#handler === undefined || this.#early.length > 0) this.#early.push(message);
    else this.#handler(message);
  }

  soon(run: () => void): void {
    // What goes on beside it may end between any two parts of what a worker does.
    this.#clock.after(this.#random.fraction() * delayMillisecondsMax, () => {
      if (!this.#isClosed) run();
    });
  }

  close(): Promise<void> {
    this.#isClosed = true;
    if (this.#other !== undefined) this.#other.#isClosed = true;
    return Promise.resolve();
  }
}

/** Most are flat, and copied much faster by hand. */
function cloneOf<T>(message: T, givenAway: readonly ArrayBuffer[]): T {
  if (isFlat(message)) return { ...message };
  return structuredClone(message, { transfer: [...givenAway] });
}

function isFlat(message: unknown): message is object {
  if (typeof message !== 'object' || message === null) return false;
  if (Object.getPrototypeOf(message) !== Object.prototype) return false;
  for (const name in message) {
    const value: unknown = message[name as keyof typeof message];
    if (value !== null && (typeof value === 'object' || typeof value === 'function')) return false;
  }
  return true;
}

/**
 * A worker in the same thread. `start` does what the worker's module does: it gets the worker's end.
 * Messages arrive in order, each after a random time. With the clock of a process, the worker dies
 * with it.
 */
export function spawnSimulatedWorker<Sent, Received>(
  clock: Clock,
  random: SimulatedRandom,
  start: (port: WorkerPort<Received, Sent>) => void,
): WorkerPort<Sent, Received> {
  const outer = new SimulatedPort<Sent, Received>(clock, random);
  const inner = new SimulatedPort<Received, Sent>(clock, random);
  outer.join(inner);
  inner.join(outer);
  clock.soon(() => start(inner));
  return outer;
}
