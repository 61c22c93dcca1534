import { flush, type LoadTarget, type Measurement, putLoad } from './load.ts';
import type { Result } from './report.ts';
import type { Row } from './rows.ts';

/** A volume whose server may have something left to do when a load has ended. */
export interface TimedTarget {
  readonly uri: string;
  readonly preSharedKeyFile?: string | undefined;
  /** Waits until all that was written is where it stays. */
  settled(): Promise<void>;
  /** Writes of a load beyond this need not be waited for, as their cost is in its rate already; none where not given. */
  readonly settledBeyondBytes?: number;
}

/**
 * Puts the load on, and stops the clock when all that it wrote is durable, as every user of a disk asks for at
 * last, and where it stays.
 */
export async function timedLoad(
  row: Pick<Row, 'load'>,
  target: TimedTarget,
  plan: Pick<LoadTarget, 'sizeBytes' | 'seconds'>,
): Promise<Measurement & Pick<Result, 'flushSeconds' | 'settlingSeconds'>> {
  const { uri, preSharedKeyFile, settledBeyondBytes = Number.POSITIVE_INFINITY } = target;
  const done = await putLoad(row, { uri, preSharedKeyFile, ...plan });
  if (done.bytesWritten === 0) return { ...done, flushSeconds: 0, settlingSeconds: 0 };
  const flushSeconds = await flush({ uri, preSharedKeyFile });
  const flushed = performance.now();
  if (done.bytesWritten < settledBeyondBytes) await target.settled();
  const settlingSeconds = (performance.now() - flushed) / 1000;
  const seconds = done.seconds + flushSeconds + settlingSeconds;
  return { ...done, seconds, flushSeconds, settlingSeconds };
}
