import type { Clock } from '../platform/clock.ts';
import { MiB } from '../platform/limits.ts';
import type { SystemEvent } from './schema-events.ts';

export interface EventLimits {
  readonly eventsMax: number;
  /** Of their texts, about. */
  readonly bytesMax: number;
}

const limitsDefault: EventLimits = { eventsMax: 4096, bytesMax: 1 * MiB };

/** Beside its texts. */
const eventBytes = 200;

function bytesOf({ code, message, group, nextCommand }: SystemEvent): number {
  const characters =
    code.length + message.length + (group?.length ?? 0) + (nextCommand?.length ?? 0);
  return eventBytes + 2 * characters;
}

/**
 * What happened to the system since it started, one entry for each change of a state; the oldest are
 * forgotten. Readers have a place in it and no queue of their own: one that is slow misses some, and is
 * told how many.
 */
export class EventHistory {
  readonly #clock: Clock;
  readonly #limits: EventLimits;
  readonly #waiting = new Set<() => void>();
  #events: SystemEvent[] = [];
  #bytes = 0;
  #last = 0;

  constructor(clock: Clock, limits: EventLimits = limitsDefault) {
    this.#clock = clock;
    this.#limits = limits;
  }

  add(code: string, message: string, fields: Readonly<Record<string, unknown>> = {}): void {
    const { group, nextCommand } = fields;
    this.#last += 1;
    const event: SystemEvent = {
      sequence: this.#last,
      time: new Date(this.#clock.wallMilliseconds()).toISOString(),
      severity: typeof nextCommand === 'string' ? 'warning' : 'info',
      code,
      message,
      group: typeof group === 'string' ? group : null,
      nextCommand: typeof nextCommand === 'string' ? nextCommand : null,
    };
    this.#events.push(event);
    this.#bytes += bytesOf(event);
    this.#forgetOldest();
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }

  /**
   * What is known since `sinceMilliseconds` (Unix time), oldest first; with `signal` also what happens
   * from then on, until it is aborted.
   */
  async *read(sinceMilliseconds: number, signal?: AbortSignal): AsyncGenerator<SystemEvent> {
    const found = this.#events.find(({ time }) => Date.parse(time) >= sinceMilliseconds);
    let next = found?.sequence ?? this.#last + 1;
    for (;;) {
      while (next <= this.#last) {
        const first = this.#first;
        if (next < first) {
          yield this.#leftOut(first - next, first - 1);
          next = first;
          continue;
        }
        const event = this.#events[next - first];
        next += 1;
        if (event) yield event;
      }
      if (!signal || signal.aborted) return;
      // What came with the abort, such as that the system stops, is still told.
      await this.#news(signal);
    }
  }

  get #first(): number {
    return this.#last - this.#events.length + 1;
  }

  #leftOut(count: number, sequence: number): SystemEvent {
    return {
      sequence,
      time: new Date(this.#clock.wallMilliseconds()).toISOString(),
      severity: 'warning',
      code: 'events_left_out',
      message: `${count} events were forgotten before they were read; the log has them`,
      group: null,
      nextCommand: null,
    };
  }

  #forgetOldest(): void {
    const { eventsMax, bytesMax } = this.#limits;
    while (this.#events.length > eventsMax || (this.#bytes > bytesMax && this.#events.length > 1)) {
      const oldest = this.#events.shift();
      if (oldest) this.#bytes -= bytesOf(oldest);
    }
  }

  #news(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal.addEventListener('abort', wake);
    });
  }
}
