import type { HostOperation, VolumeMetrics } from '../group/apply/export.ts';
import type { Clock } from '../platform/clock.ts';
import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_CACHE,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
} from './wire.ts';

const operations: readonly (readonly [type: number, operation: HostOperation])[] = [
  [NBD_CMD_READ, 'read'],
  [NBD_CMD_WRITE, 'write'],
  [NBD_CMD_FLUSH, 'flush'],
  [NBD_CMD_TRIM, 'trim'],
  [NBD_CMD_CACHE, 'cache'],
  [NBD_CMD_WRITE_ZEROES, 'write_zeroes'],
  [NBD_CMD_BLOCK_STATUS, 'block_status'],
];
/** What stands for every type that is no command: counted nowhere. */
export const unknownCommand = 8;
const nanosecondsPerMillisecond = 1e6;

/** Counts answers as plain numbers, and hands them to the volume's metrics once a batch. */
export class RequestMetrics {
  readonly #clock: Clock;
  readonly #metrics: VolumeMetrics;
  readonly #counts = new Float64Array(unknownCommand + 1);
  readonly #bytes = new Float64Array(unknownCommand + 1);
  readonly #errors = new Float64Array(unknownCommand + 1);
  #earliest = 0;
  #any = false;

  constructor(clock: Clock, metrics: VolumeMetrics) {
    this.#clock = clock;
    this.#metrics = metrics;
  }

  /** An answer of the batch that began at `startedAt` was put together. */
  count(type: number, bytes: number, isError: boolean, startedAt: number): void {
    if (this.#any && startedAt !== this.#earliest) this.flush();
    this.#any = true;
    this.#earliest = startedAt;
    this.#counts[type] = (this.#counts[type] ?? 0) + 1;
    if (isError) this.#errors[type] = (this.#errors[type] ?? 0) + 1;
    else this.#bytes[type] = (this.#bytes[type] ?? 0) + bytes;
  }

  /** What was counted leaves now. */
  flush(): void {
    if (!this.#any) return;
    this.#any = false;
    const elapsed = this.#clock.monotonicMilliseconds() - this.#earliest;
    const nanoseconds = Math.max(1, Math.round(elapsed * nanosecondsPerMillisecond));
    for (const [type, operation] of operations) {
      const count = this.#counts[type] ?? 0;
      if (count === 0) continue;
      this.#metrics.operations[operation] += count;
      this.#metrics.bytes[operation] += this.#bytes[type] ?? 0;
      this.#metrics.errors[operation] += this.#errors[type] ?? 0;
      const histogram = this.#metrics.latencyNanoseconds[operation];
      histogram.record(nanoseconds, count);
      this.#counts[type] = this.#bytes[type] = this.#errors[type] = 0;
    }
  }
}
