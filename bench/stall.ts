import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Child, run, sleep } from '../test/support/children.ts';
import { Daemon } from '../test/support/daemon.ts';
import { temporaryDirectory } from '../test/support/temporary.ts';
import { residentBytes } from './contestants.ts';
import { benchClient, missingForLoads } from './load.ts';
import { say } from './report.ts';
import { limitIo, missingForIoLimit } from './io-limit.ts';
import { measurePlace, missingForSlowDisk, SlowDisk, type SlowPlace } from './slow-disk.ts';

export interface StallOptions {
  readonly seconds: number;
  readonly bytesPerSecond: number;
  /** Our limit as a control group, or a device of its own that is slow for everybody. */
  readonly disk: 'control-group' | 'device';
  readonly directory: string;
  readonly json: string | undefined;
}

const MiB = 1024 * 1024;

/** What must hold while the disk cannot keep up. */
const limits = {
  eventLoopDelaySeconds: 0.05,
  /** From connecting to the last of a few answers. */
  secondClientSeconds: 2,
  /** Two seconds, and what the disk needs for the appended bytes that are not durable yet. */
  terminationSeconds: (bytesPerSecond: number) => 2 + (32 * MiB) / bytesPerSecond,
};

/** 0 all limits held, 1 one did not, 77 something is missing. */
export async function benchStall(options: StallOptions): Promise<number> {
  mkdirSync(options.directory, { recursive: true });
  const missing = [
    ...(await missingForLoads()),
    ...(options.disk === 'device' ? missingForSlowDisk() : missingForIoLimit(options.directory)),
  ];
  if (missing.length > 0) {
    say(`bench stall: missing ${missing.join(', ')}`);
    return 77;
  }
  const work = temporaryDirectory('stall', options.directory);
  let place: SlowPlace | undefined;
  let daemon: Daemon | undefined;
  try {
    place =
      options.disk === 'device'
        ? await SlowDisk.make(work.path, options.bytesPerSecond)
        : limitIo(work.path, options.bytesPerSecond);
    const measured = await measurePlace(place, options.bytesPerSecond * 3);
    say(`the disk takes ${(measured / 1e6).toFixed(1)} MB/s`);
    daemon = await Daemon.start({
      dataDirectory: join(place.path, 'data'),
      wrapper: place.wrapper,
    });
    return await measureStall(options, daemon, measured);
  } finally {
    await daemon?.kill();
    place?.remove();
    work.remove();
  }
}

async function measureStall(
  options: StallOptions,
  daemon: Daemon,
  diskBytesPerSecond: number,
): Promise<number> {
  await daemon.client('group', 'create', 'busy');
  await daemon.client('volume', 'create', 'busy/written', '--size', '4GiB');
  await daemon.client('volume', 'create', 'busy/read', '--size', '1GiB');
  await daemon.client('group', 'create', 'quiet');
  await daemon.client('volume', 'create', 'quiet/volume', '--size', '1GiB');

  const client = await benchClient();
  // The longest delay is told since it was asked for last: making groups is not what this is about.
  await daemon.metric('jnbd_event_loop_delay_max_seconds');
  const writer = new Child(
    client,
    [
      ['--uri', daemon.uri('busy/written'), '--seconds', String(options.seconds + 30)],
      ['--block-size', String(MiB), '--sequential', '--depth', '8'],
    ].flat(),
  );
  let eventLoopDelaySeconds = 0;
  let residentPeakBytes = 0;
  /** The slowest of each kind of second client. */
  const slowest = { readSameGroup: 0, writeOtherGroup: 0 };
  const second = async (kind: keyof typeof slowest, ...args: string[]) => {
    const started = performance.now();
    const done = await run(client, ['--seconds', '0.01', ...args], { timeoutSeconds: 60 });
    if (done.code !== 0) throw new Error(`the second client failed: ${done.stderr}`);
    slowest[kind] = Math.max(slowest[kind], (performance.now() - started) / 1000);
  };

  // This process has nothing to do: how late it is tells how busy the processors were with others.
  const idle = monitorEventLoopDelay({ resolution: 10 });
  idle.enable();
  const started = performance.now();
  while (performance.now() - started < options.seconds * 1000) {
    await second('readSameGroup', '--uri', daemon.uri('busy/read'), '--read');
    await second('writeOtherGroup', '--uri', daemon.uri('quiet/volume'));
    const delay = await daemon.metric('jnbd_event_loop_delay_max_seconds');
    eventLoopDelaySeconds = Math.max(eventLoopDelaySeconds, delay);
    residentPeakBytes = residentBytes(daemon.pid).peak;
    if (writer.exited) throw new Error(`the writer ended early: ${writer.output}`);
    await sleep(250);
  }
  const idleDelaySeconds = Math.max(0, idle.max / 1e9 - 0.01);
  idle.disable();

  const terminated = performance.now();
  await daemon.stop();
  const terminationSeconds = (performance.now() - terminated) / 1000;
  const exitCode = daemon.exited?.code ?? null;
  writer.signal('SIGKILL');
  await writer.exit;

  const allowed = limits.terminationSeconds(options.bytesPerSecond);
  const findings = [
    ['longest event-loop delay', eventLoopDelaySeconds, limits.eventLoopDelaySeconds],
    ['slowest reader of the same group', slowest.readSameGroup, limits.secondClientSeconds],
    ['slowest writer of another group', slowest.writeOtherGroup, limits.secondClientSeconds],
    ['end after SIGTERM', terminationSeconds, allowed],
  ] as const;
  let failed = exitCode !== 0;
  for (const [what, seconds, limit] of findings) {
    const isOver = seconds > limit;
    failed ||= isOver;
    const verdict = isOver ? 'OVER' : 'under';
    say(`${what.padEnd(34)} ${seconds.toFixed(3).padStart(7)} s, ${verdict} ${limit.toFixed(2)} s`);
  }
  say(
    `${'for comparison, this idle process'.padEnd(34)} ${idleDelaySeconds.toFixed(3).padStart(7)} s`,
  );
  say(`exit code after SIGTERM ${exitCode}, resident ${Math.round(residentPeakBytes / MiB)} MiB`);
  if (options.json !== undefined) {
    const report = {
      formatVersion: 1,
      seconds: options.seconds,
      disk: options.disk,
      diskBytesPerSecond,
      eventLoopDelaySeconds,
      idleDelaySeconds,
      slowestSecondClientSeconds: slowest,
      terminationSeconds,
      exitCode,
      residentPeakBytes,
    };
    writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
  }
  return failed ? 1 : 0;
}
