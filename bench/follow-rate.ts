import { runChecked, sleep } from '../test/support/children.ts';
import type { Daemon } from '../test/support/daemon.ts';
import { requireProgram } from '../test/support/tools.ts';
import type { Finding } from './follow-report.ts';
import {
  discard,
  type FollowBench,
  groupOf,
  newestOf,
  startFollower,
  startPrimary,
  untilApplied,
  untilReceived,
  untilSynced,
  volume,
} from './follow-systems.ts';
import { touchMemory } from './page-cache.ts';
import { say } from './report.ts';

export interface RatePlan {
  readonly seconds: number;
  readonly sizeBytes: number;
  readonly journalBytes: number;
}

const KiB = 1024;
const latencyRatioMax = 1.5;
const lagSecondsMax = 1;
/** How much the lag may differ between the first and the last third of a run that it does not grow in. */
const growthSecondsMax = 0.25;
const rateShareMin = 0.7;
const names = ['second', 'third'];
const niceness = ['nice', '-n', '19'];

interface Load {
  readonly operations: number;
  readonly seconds: number;
  readonly p99Microseconds: number;
}

/** 4 KiB writes anywhere, at depth 32; so many a second at most. */
async function writeAnywhere(primary: Daemon, plan: RatePlan, rate?: number): Promise<Load> {
  const { stdout } = await runChecked(
    requireProgram('fio'),
    [
      ['--name=row', '--ioengine=nbd', `--uri=${primary.uri(volume)}`, `--size=${plan.sizeBytes}`],
      ['--rw=randwrite', '--bs=4k', '--iodepth=32', '--time_based', `--runtime=${plan.seconds}`],
      ['--norandommap', '--randrepeat=0', '--output-format=json', '--percentile_list=50:99'],
      ...(rate === undefined ? [] : [`--rate_iops=${Math.round(rate)}`]),
    ].flat(),
    { timeoutSeconds: plan.seconds + 120 },
  );
  interface Job {
    readonly write: {
      readonly total_ios: number;
      readonly runtime: number;
      readonly clat_ns: { readonly percentile: Record<string, number> };
    };
  }
  const [job] = (JSON.parse(stdout.slice(stdout.search(/^\{/m))) as { jobs: Job[] }).jobs;
  if (!job) throw new Error(`fio reported no job: ${stdout}`);
  const { total_ios: operations, runtime, clat_ns } = job.write;
  const p99Microseconds = (clat_ns.percentile['99.000000'] ?? Number.NaN) / 1000;
  return { operations, seconds: runtime / 1000, p99Microseconds };
}

/** (b) what a host feels of its followers at half the rate that can be kept up, and how far they are behind. */
export async function measureHalfRate(bench: FollowBench, plan: RatePlan): Promise<Finding[]> {
  const primary = await primaryWrittenOnce(bench, plan);
  await touchMemory();
  const started = performance.now();
  const { operations } = await writeAnywhere(primary, plan);
  await untilApplied(primary);
  const most = operations / ((performance.now() - started) / 1000);
  say(`most: ${most.toFixed(0)} writes/s, with the time until all was applied`);
  const followers: Daemon[] = [];
  const runs: { load: Load; lag: Lag }[] = [];
  for (const name of [undefined, ...names]) {
    if (name !== undefined) {
      const { journalBytes } = plan;
      followers.push(await startFollower(bench, { name, journalBytes }, primary));
    }
    await level(primary, followers);
    await touchMemory();
    const watch = watchLag(primary);
    const load = await writeAnywhere(primary, plan, most / 2);
    const lag = await watch.end();
    runs.push({ load, lag });
    say(
      `${followers.length} followers: ${(load.operations / load.seconds).toFixed(0)} writes/s, ` +
        `p99 ${load.p99Microseconds.toFixed(0)} us, lag p99 ${lag.p99Seconds.toFixed(2)} s, ` +
        `growth ${lag.growthSeconds.toFixed(2)} s`,
    );
  }
  await level(primary, followers);
  await discard(bench, ...followers, primary);
  return halfRateFindings(most, runs);
}

function halfRateFindings(most: number, runs: readonly { load: Load; lag: Lag }[]): Finding[] {
  const [none, , two] = runs;
  if (!none || !two) throw new Error('there are runs with none and with two followers');
  const ratio = two.load.p99Microseconds / none.load.p99Microseconds;
  const p99 = runs.map(({ load }) => load.p99Microseconds.toFixed(0)).join(', ');
  const rate = (most / 2000).toFixed(1);
  const { p99Seconds, growthSeconds } = two.lag;
  return [
    {
      id: 'latency',
      label: `p99 of 4 KiB writes at half the most (${rate} thousand/s), two followers to none`,
      value: ratio,
      text: `${ratio.toFixed(2)} (${p99} µs with 0, 1, 2)`,
      bar: { kind: 'at most', value: latencyRatioMax, text: String(latencyRatioMax) },
      details: { mostPerSecond: most, runs },
    },
    {
      id: 'lag',
      label: 'lag of the slower of two followers meanwhile, p99',
      value: p99Seconds,
      text: `${p99Seconds.toFixed(3)} s`,
      bar: { kind: 'at most', value: lagSecondsMax, text: `${lagSecondsMax} s` },
      details: { ...two.lag },
    },
    {
      id: 'lag-growth',
      label: 'growth of that lag, last third to first',
      value: growthSeconds,
      text: `${growthSeconds.toFixed(3)} s`,
      bar: { kind: 'at most', value: growthSecondsMax, text: `${growthSecondsMax} s` },
      details: {},
    },
  ];
}

/** (c) what a host loses to followers that leave the processors to it, and when they have caught up. */
export async function measureFullRate(bench: FollowBench, plan: RatePlan): Promise<Finding[]> {
  const primary = await primaryWrittenOnce(bench, plan);
  await touchMemory();
  const alone = await writeAnywhere(primary, plan);
  await untilApplied(primary);
  const { journalBytes } = plan;
  const followers: Daemon[] = [];
  for (const name of names) {
    const follower = { name, journalBytes, wrapper: niceness };
    followers.push(await startFollower(bench, follower, primary));
  }
  await level(primary, followers);
  await touchMemory();
  const followed = await writeAnywhere(primary, plan);
  const ended = performance.now();
  const newest = await newestOf(primary);
  await Promise.all(followers.map((follower) => untilReceived(follower, newest)));
  const drainSeconds = (performance.now() - ended) / 1000;
  await level(primary, followers);
  const appliedSeconds = (performance.now() - ended) / 1000;
  await discard(bench, ...followers, primary);
  const rate = ({ operations, seconds }: Load): number => operations / seconds;
  const share = rate(followed) / rate(alone);
  const thousands = (load: Load): string => (rate(load) / 1000).toFixed(1);
  return [
    {
      id: 'full-rate',
      label: 'full rate of 4 KiB writes, two followers at nice 19 to none',
      value: share,
      text: `${share.toFixed(2)} (${thousands(followed)} of ${thousands(alone)} thousand/s)`,
      bar: { kind: 'at least', value: rateShareMin, text: String(rateShareMin) },
      details: { alone, followed },
    },
    {
      id: 'drained',
      label: `followers have received all, after ${plan.seconds} s of that`,
      value: drainSeconds,
      text: `${drainSeconds.toFixed(1)} s (and applied it after ${appliedSeconds.toFixed(1)} s)`,
      bar: { kind: 'at most', value: plan.seconds, text: `${plan.seconds} s` },
      details: { appliedSeconds },
    },
  ];
}

/** A volume whose blocks are all there. */
async function primaryWrittenOnce(bench: FollowBench, plan: RatePlan): Promise<Daemon> {
  const { sizeBytes, journalBytes } = plan;
  const primary = await startPrimary(bench, { name: 'first', journalBytes }, sizeBytes);
  await runChecked(
    requireProgram('fio'),
    [
      ['--name=fill', '--ioengine=nbd', `--uri=${primary.uri(volume)}`, `--size=${sizeBytes}`],
      ['--rw=write', `--bs=${1024 * KiB}`, '--iodepth=4'],
    ].flat(),
    { timeoutSeconds: 1800 },
  );
  await untilApplied(primary);
  return primary;
}

async function level(primary: Daemon, followers: readonly Daemon[]): Promise<void> {
  await untilApplied(primary);
  const newest = await newestOf(primary);
  for (const follower of followers) await untilSynced(follower, newest);
}

interface Lag {
  readonly p99Seconds: number;
  readonly growthSeconds: number;
}

/** Asks the primary, ten times a second, how far the slowest follower is behind. */
function watchLag(primary: Daemon): { end(): Promise<Lag> } {
  const lags: number[] = [];
  let isOver = false;
  const watching = (async () => {
    while (!isOver) {
      const { secondaries } = await groupOf(primary);
      lags.push(Math.max(0, ...secondaries.map(({ lag }) => lag.received.seconds)));
      await sleep(100);
    }
  })();
  return {
    async end() {
      isOver = true;
      await watching;
      const third = Math.floor(lags.length / 3);
      const mean = (values: readonly number[]): number =>
        values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
      const sorted = [...lags].sort((a, b) => a - b);
      return {
        p99Seconds: sorted[Math.floor((sorted.length - 1) * 0.99)] ?? Number.NaN,
        growthSeconds: mean(lags.slice(-third)) - mean(lags.slice(0, third)),
      };
    },
  };
}
