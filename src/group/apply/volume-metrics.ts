import type { HostOperation, LatencyHistogram, VolumeMetrics } from './export.ts';

export const hostOperations: readonly HostOperation[] = [
  'read',
  'write',
  'flush',
  'trim',
  'write_zeroes',
  'cache',
  'block_status',
];

/** Upper bounds of the buckets: 2^14 ns (16 microseconds), doubling, up to 2^34 (17 seconds). */
const firstBucketBits = 14;
const firstBucketNanoseconds = 2 ** firstBucketBits;
const unitsMax = 2 ** 31;
export const latencyBuckets = 21;

export function latencyBucketSeconds(bucket: number): number {
  return 2 ** (firstBucketBits + bucket) / 1e9;
}

/** A histogram of plain numbers: a few nanoseconds however many requests took as long. The last bucket has no upper bound. */
export class BucketHistogram implements LatencyHistogram {
  readonly counts = new Float64Array(latencyBuckets + 1);
  sumNanoseconds = 0;

  record(nanoseconds: number, count: number): void {
    this.sumNanoseconds += nanoseconds * count;
    const units = nanoseconds / firstBucketNanoseconds;
    const bucket = units <= 1 ? 0 : units >= unitsMax ? 31 : 32 - Math.clz32(Math.ceil(units) - 1);
    const index = Math.min(bucket, latencyBuckets);
    this.counts[index] = (this.counts[index] ?? 0) + count;
  }
}

export class CountedVolumeMetrics implements VolumeMetrics {
  readonly operations = zeroes();
  readonly bytes = zeroes();
  readonly errors = zeroes();
  readonly latencyNanoseconds: Record<HostOperation, BucketHistogram> = {
    read: new BucketHistogram(),
    write: new BucketHistogram(),
    flush: new BucketHistogram(),
    trim: new BucketHistogram(),
    write_zeroes: new BucketHistogram(),
    cache: new BucketHistogram(),
    block_status: new BucketHistogram(),
  };
}

function zeroes(): Record<HostOperation, number> {
  return { read: 0, write: 0, flush: 0, trim: 0, write_zeroes: 0, cache: 0, block_status: 0 };
}
