import { join } from 'node:path';
import { NbdClient } from '../src/nbd/client.ts';
import { runChecked } from '../test/support/children.ts';
import type { Daemon } from '../test/support/daemon.ts';
import { requireProgram } from '../test/support/tools.ts';
import type { Finding } from './follow-report.ts';
import {
  copyIn,
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
  writeRandomFile,
} from './follow-systems.ts';
import { say } from './report.ts';
import { WireCounter } from './wire-counter.ts';

const MiB = 1024 ** 2;
const firstWriteSecondsMax = 3;
const wireShareMax = 1.1;
const blockBytes = 64 * 1024;

export interface PromotePlan {
  /** What is to be received and not applied. */
  readonly unappliedBytes: number;
}

/**
 * (e) when a host can write at a follower that has not applied what it received, in records of 4 KiB
 * anywhere. It is killed and started again before: what it applied after its last checkpoint is to be
 * applied once more.
 */
export async function measurePromotion(bench: FollowBench, plan: PromotePlan): Promise<Finding[]> {
  const writtenBytes = 1.5 * plan.unappliedBytes;
  const sizeBytes = 2 * writtenBytes;
  const journalBytes = 2 * writtenBytes;
  const primary = await startPrimary(bench, { name: 'first', journalBytes }, sizeBytes);
  const follower = await startFollower(bench, { name: 'second', journalBytes }, primary);
  await untilSynced(follower, await newestOf(primary));
  await follower.client('suspend', 'bench');
  await runChecked(
    requireProgram('fio'),
    [
      ['--name=fill', '--ioengine=nbd', `--uri=${primary.uri(volume)}`, `--size=${sizeBytes}`],
      ['--rw=randwrite', '--bs=4k', '--iodepth=32', `--io_size=${writtenBytes}`],
    ].flat(),
    { timeoutSeconds: 1800 },
  );
  await untilApplied(primary);
  const newest = await newestOf(primary);
  await follower.client('resume', 'bench');
  await untilReceived(follower, newest);
  await primary.kill();
  await follower.kill();
  await follower.start();
  const { lag } = await groupOf(follower);
  const unappliedBytes = lag.applied.bytes;
  const started = performance.now();
  await follower.client('promote', 'bench');
  const promotedSeconds = (performance.now() - started) / 1000;
  const client = await NbdClient.connectUri(follower.uri(volume));
  await client.write(0, Buffer.alloc(4096, 0x5a));
  const seconds = (performance.now() - started) / 1000;
  await client.close();
  say(`promoted after ${promotedSeconds.toFixed(2)} s, written to after ${seconds.toFixed(2)} s`);
  await discard(bench, follower, primary);
  const size = `${Math.round(unappliedBytes / MiB)} MiB`;
  return [
    {
      id: 'promote',
      label: `promote with ${size} received and not applied, until the first write is answered`,
      value: seconds,
      text: `${seconds.toFixed(2)} s`,
      bar: { kind: 'at most', value: firstWriteSecondsMax, text: `${firstWriteSecondsMax} s` },
      details: { unappliedBytes, wantedBytes: plan.unappliedBytes, promotedSeconds },
    },
  ];
}

export interface FailbackPlan {
  readonly sizeBytes: number;
  readonly filledBytes: number;
  readonly changedBytes: number;
}

/**
 * (f) what the return of an old primary costs: nine tenths of the changes were made at the new one, and
 * one tenth at the old one, which nobody got.
 */
export async function measureFailback(bench: FollowBench, plan: FailbackPlan): Promise<Finding[]> {
  const { sizeBytes, changedBytes } = plan;
  const journalBytes = 1024 * MiB;
  const contents = join(bench.directory, 'contents');
  const first = await startPrimary(bench, { name: 'first', journalBytes }, sizeBytes);
  writeRandomFile(contents, plan.filledBytes);
  await copyIn(contents, first, 1024 * 1024);
  const second = await startFollower(bench, { name: 'second', journalBytes }, first);
  await untilSynced(second, await newestOf(first));
  await second.client('suspend', 'bench');
  const lost = await changeBlocks(first, plan, 0, changedBytes / 10);
  await first.kill();
  await second.client('promote', 'bench', '--force');
  const kept = await changeBlocks(second, plan, lost, changedBytes - changedBytes / 10);
  await untilApplied(second);
  await first.start();
  const wire = await WireCounter.to(second.listenPort);
  const started = performance.now();
  await first.client('follow', 'bench', '--from', `http://127.0.0.1:${wire.port}`, '--rewind');
  await first.client('wait', 'bench', '--for', 'synced', '--timeout', '600s');
  const seconds = (performance.now() - started) / 1000;
  const { bytes } = wire;
  wire.close();
  await discard(bench, first, second);
  const changed = lost + kept;
  const share = bytes / changed;
  return [
    {
      id: 'failback',
      label: `return of an old primary, ${Math.round(changed / MiB)} MiB changed of ${(sizeBytes / 1024 / MiB).toFixed(0)} GiB: on the wire`,
      value: share,
      text: `${share.toFixed(3)} of what changed (${(bytes / MiB).toFixed(1)} MiB), in ${seconds.toFixed(1)} s`,
      bar: { kind: 'at most', value: wireShareMax, text: `${wireShareMax} of what changed` },
      details: { wireBytes: bytes, changedBytes: changed, seconds },
    },
  ];
}

/**
 * Writes so many blocks of 64 KiB, evenly over the volume, none of which the calls before wrote, and
 * returns their bytes.
 */
async function changeBlocks(
  daemon: Daemon,
  { sizeBytes, changedBytes }: FailbackPlan,
  from: number,
  bytes: number,
): Promise<number> {
  const blocks = Math.floor(changedBytes / blockBytes);
  const distance = Math.floor(sizeBytes / blocks / blockBytes) * blockBytes;
  const client = await NbdClient.connectUri(daemon.uri(volume));
  const first = from / blockBytes;
  const count = Math.floor(bytes / blockBytes);
  for (let at = first; at < first + count; at += 1) {
    const block = Buffer.alloc(blockBytes, 1 + (at % 255));
    block.writeDoubleLE(Math.random(), 0);
    await client.write(at * distance, block);
  }
  await client.flush();
  await client.close();
  return count * blockBytes;
}
