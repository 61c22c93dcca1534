import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import type {
  HostOperation,
  LatencyHistogram,
  VolumeMetrics,
} from '../../src/group/apply/export.ts';

const operations: readonly HostOperation[] = [
  'read',
  'write',
  'flush',
  'trim',
  'write_zeroes',
  'cache',
  'block_status',
];

function perOperation<T>(make: () => T): Record<HostOperation, T> {
  return Object.fromEntries(operations.map((operation) => [operation, make()])) as Record<
    HostOperation,
    T
  >;
}

/** Real histograms, so that tests can look at what was counted. */
export function createMetrics(): VolumeMetrics & {
  latencyNanoseconds: Record<HostOperation, LatencyHistogram & RecordableHistogram>;
} {
  return {
    operations: perOperation(() => 0),
    bytes: perOperation(() => 0),
    errors: perOperation(() => 0),
    latencyNanoseconds: perOperation(() => createHistogram()),
  };
}
