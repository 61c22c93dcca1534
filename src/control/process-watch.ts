import { monitorEventLoopDelay } from 'node:perf_hooks';

/** What the metrics tell of the process. A simulation has one that tells nothing. */
export interface ProcessWatch {
  residentBytes(): number;
  takeEventLoopDelay(): EventLoopDelay;
  close(): void;
}

/** How late the event loop was. */
export interface EventLoopDelay {
  /** Since it was taken last. */
  readonly maxSeconds: number;
  /** Since it was taken last, by quantile. */
  readonly quantiles: ReadonlyMap<number, number>;
  /** Over the life of the process. */
  readonly sumSeconds: number;
  readonly count: number;
}

const resolutionMilliseconds = 10;
const quantiles = [0.5, 0.9, 0.99, 0.999];

export function watchProcess(): ProcessWatch {
  const monitor = monitorEventLoopDelay({ resolution: resolutionMilliseconds });
  monitor.enable();
  let sumSeconds = 0;
  let count = 0;
  // What the monitor measures is from tick to tick, the resolution included.
  const late = (nanoseconds: number): number =>
    Math.max(0, nanoseconds / 1e9 - resolutionMilliseconds / 1e3);
  return {
    residentBytes: () => process.memoryUsage.rss(),
    takeEventLoopDelay() {
      const isEmpty = monitor.count === 0;
      const maxSeconds = isEmpty ? 0 : late(monitor.max);
      const values = quantiles.map((each): [number, number] => [
        each,
        isEmpty ? 0 : late(monitor.percentile(each * 100)),
      ]);
      sumSeconds += isEmpty ? 0 : late(monitor.mean) * monitor.count;
      count += monitor.count;
      monitor.reset();
      return { maxSeconds, quantiles: new Map(values), sumSeconds, count };
    },
    close() {
      monitor.disable();
    },
  };
}
