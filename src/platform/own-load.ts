import { monitorEventLoopDelay } from 'node:perf_hooks';
import { readIfThere } from './running-process.ts';

/** How busy this process and this machine are. A simulation has one of its own. */
export interface OwnLoad {
  /** How late the event loop was, but for one time in a hundred. */
  readonly eventLoopDelayMilliseconds: number;
  /** How much of the machine's processors was in use, by whomever, 0 to 1. */
  readonly processorShare: number;
}

export interface LoadWatch {
  /** Of the second before; cheap enough to be asked for every decision. */
  read(): OwnLoad;
  close(): void;
}

const resolutionMilliseconds = 10;
const periodMilliseconds = 1000;
const processorLine = /^cpu +(.*)$/m;
/** Where `idle` and `iowait` stand in that line of /proc/stat (proc(5)). */
const idleColumns = [3, 4];

/** Ticks since the machine started; `undefined` where the text says nothing of them. */
export function processorTicks(stat: string): { busy: number; all: number } | undefined {
  // `guest` and `guest_nice`, from the ninth column on, are in `user` and `nice` already.
  const columns = processorLine.exec(stat)?.[1]?.split(' ').slice(0, 8).map(Number);
  if (!columns || columns.length < 5 || columns.some(Number.isNaN)) return undefined;
  const all = columns.reduce((sum, each) => sum + each, 0);
  const idle = idleColumns.reduce((sum, at) => sum + (columns[at] ?? 0), 0);
  return { busy: all - idle, all };
}

export function watchLoad(
  readStat: () => string = () => readIfThere('/proc/stat'),
  monotonicMilliseconds: () => number = () => performance.now(),
): LoadWatch {
  const monitor = monitorEventLoopDelay({ resolution: resolutionMilliseconds });
  monitor.enable();
  let readAt = monotonicMilliseconds();
  let before = processorTicks(readStat());
  let load: OwnLoad = { eventLoopDelayMilliseconds: 0, processorShare: 0 };
  return {
    read() {
      const now = monotonicMilliseconds();
      if (now - readAt < periodMilliseconds) return load;
      readAt = now;
      const after = processorTicks(readStat());
      const passed = before && after ? after.all - before.all : 0;
      const busy = before && after ? after.busy - before.busy : 0;
      before = after;
      // What the monitor measures is from tick to tick, the resolution included.
      const late = monitor.count === 0 ? 0 : monitor.percentile(99) / 1e6 - resolutionMilliseconds;
      monitor.reset();
      load = {
        eventLoopDelayMilliseconds: Math.max(0, late),
        processorShare: passed > 0 ? Math.min(1, Math.max(0, busy / passed)) : 0,
      };
      return load;
    },
    close() {
      monitor.disable();
    },
  };
}
