import { paceBatchBytesMax, paceBatchBytesMin, MiB } from '../../platform/limits.ts';

/** What one journal read brought. Times are monotonic. */
export interface ReadOutcome {
  readonly startedAtMilliseconds: number;
  readonly endedAtMilliseconds: number;
  readonly askedBytes: number;
  readonly bytes: number;
  /** Numbered ones. */
  readonly records: number;
}

/** What the reads so far taught. Only `noteStart` and `noteRead` make new ones. */
export interface PaceMeasures {
  readonly lastStartMilliseconds: number | undefined;
  readonly lastEndMilliseconds: number | undefined;
  /** Of the last read. */
  readonly broughtNothing: boolean;
  /** Arrived in `spanMilliseconds`; all three fade with every read. */
  readonly bytes: number;
  readonly records: number;
  readonly spanMilliseconds: number;
  /** Grows while batches come full, and shrinks while they come nearly empty. */
  readonly batchBytes: number;
}

export const noMeasures: PaceMeasures = {
  lastStartMilliseconds: undefined,
  lastEndMilliseconds: undefined,
  broughtNothing: false,
  bytes: 0,
  records: 0,
  spanMilliseconds: 0,
  batchBytes: 1 * MiB,
};

const fading = 0.75;
/** A long silence says no more about the present than a short one. */
const spanMillisecondsMax = 200;

/** A read was sent off. */
export function noteStart(measures: PaceMeasures, nowMilliseconds: number): PaceMeasures {
  return { ...measures, lastStartMilliseconds: nowMilliseconds };
}

/** A read ended well. Reads over several connections may end in another order than they began. */
export function noteRead(measures: PaceMeasures, read: ReadOutcome): PaceMeasures {
  const lastEnd = measures.lastEndMilliseconds ?? read.startedAtMilliseconds;
  const span = Math.max(1, Math.min(spanMillisecondsMax, read.endedAtMilliseconds - lastEnd));
  return {
    lastStartMilliseconds: Math.max(
      measures.lastStartMilliseconds ?? 0,
      read.startedAtMilliseconds,
    ),
    lastEndMilliseconds: Math.max(lastEnd, read.endedAtMilliseconds),
    broughtNothing: read.bytes === 0,
    bytes: measures.bytes * fading + read.bytes,
    records: measures.records * fading + read.records,
    spanMilliseconds: measures.spanMilliseconds * fading + span,
    batchBytes: nextBatchBytes(measures.batchBytes, read),
  };
}

function nextBatchBytes(present: number, { askedBytes, bytes }: ReadOutcome): number {
  if (bytes >= askedBytes * 0.75) return Math.min(paceBatchBytesMax, present * 2);
  if (bytes < askedBytes * 0.25) return Math.max(paceBatchBytesMin, present / 2);
  return present;
}
