import { closeSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { GroupStatus, Status } from '../src/control/schema-status.ts';
import { runChecked, sleep } from '../test/support/children.ts';
import { Daemon } from '../test/support/daemon.ts';
import { requireProgram } from '../test/support/tools.ts';

const MiB = 1024 ** 2;
export const volume = 'bench/volume';

/** What all rows need, and what they make is removed with. */
export interface FollowBench {
  readonly directory: string;
  readonly systems: Set<Daemon>;
}

export interface SystemPlan {
  readonly name: string;
  readonly journalBytes: number;
  readonly wrapper?: readonly string[];
}

export async function startPrimary(
  bench: FollowBench,
  { name, journalBytes }: SystemPlan,
  sizeBytes: number,
): Promise<Daemon> {
  const primary = await startSystem(bench, name);
  await primary.client('group', 'create', 'bench', '--journal-size', String(journalBytes));
  await primary.client('volume', 'create', volume, '--size', String(sizeBytes));
  return primary;
}

/** It follows when this resolves; that it has all is not waited for. */
export async function startFollower(
  bench: FollowBench,
  { name, journalBytes, wrapper }: SystemPlan,
  source: Daemon,
  options: readonly string[] = [],
): Promise<Daemon> {
  const follower = await startSystem(bench, name, wrapper);
  const follow = ['follow', 'bench', '--from', `http://127.0.0.1:${source.listenPort}`];
  await follower.client(...follow, '--journal-size', String(journalBytes), ...options);
  return follower;
}

async function startSystem(
  { directory, systems }: FollowBench,
  name: string,
  wrapper: readonly string[] = [],
): Promise<Daemon> {
  const daemon = await Daemon.start({
    dataDirectory: join(directory, name),
    arguments: ['--name', name],
    wrapper,
  });
  systems.add(daemon);
  return daemon;
}

/** Ends it and removes what it has. */
export async function discard({ systems }: FollowBench, ...daemons: Daemon[]): Promise<void> {
  for (const daemon of daemons) {
    await daemon.kill();
    systems.delete(daemon);
    rmSync(daemon.dataDirectory, { recursive: true, force: true });
  }
}

export async function groupOf(daemon: Daemon): Promise<GroupStatus> {
  const { body } = await daemon.get('/status');
  const group = (JSON.parse(body) as Status).groups[0];
  if (!group) throw new Error('status names no group');
  return group;
}

export async function newestOf(daemon: Daemon): Promise<number> {
  return (await groupOf(daemon)).watermarks.newest;
}

const pollMilliseconds = 50;
const patienceMilliseconds = 900_000;

/** Until `isReached`. Not asked too often: who is asked has other things to do, which are measured. */
export async function untilGroup(
  daemon: Daemon,
  what: string,
  isReached: (group: GroupStatus) => boolean,
): Promise<void> {
  const deadline = performance.now() + patienceMilliseconds;
  while (!isReached(await groupOf(daemon))) {
    if (performance.now() > deadline) throw new Error(`${what} did not happen`);
    await sleep(pollMilliseconds);
  }
}

export function untilApplied(daemon: Daemon): Promise<void> {
  const isReached = ({ watermarks }: GroupStatus) => watermarks.applied >= watermarks.newest;
  return untilGroup(daemon, 'applying all', isReached);
}

/** Nothing of what was written is in the journal any more: who follows now needs contents. */
export function untilReleased(daemon: Daemon): Promise<void> {
  const isReached = ({ watermarks }: GroupStatus) => watermarks.released >= watermarks.newest;
  return untilGroup(daemon, 'releasing all', isReached);
}

/** All contents copied, and every update up to `newest` durable and applied. */
export function untilSynced(daemon: Daemon, newest: number): Promise<void> {
  return untilGroup(
    daemon,
    'following',
    ({ pairs, watermarks }) =>
      pairs.every(({ state }) => state === 'normal') && watermarks.applied >= newest,
  );
}

export function untilReceived(daemon: Daemon, newest: number): Promise<void> {
  return untilGroup(daemon, 'receiving', ({ watermarks }) => watermarks.durable >= newest);
}

/** Processor time of the thread that serves hosts, in seconds. */
export function hotThreadSeconds(daemon: Daemon): number {
  const { pid } = daemon;
  const [nanoseconds] = readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8').split(' ');
  return Number(nanoseconds) / 1e9;
}

export function writeRandomFile(path: string, bytes: number): void {
  const file = openSync(path, 'w');
  const piece = randomBytes(MiB);
  for (let at = 0; at < bytes; at += piece.length) {
    // No two blocks are the same.
    piece.writeDoubleLE(at, 0);
    writeSync(file, piece, 0, Math.min(piece.length, bytes - at));
  }
  closeSync(file);
}

/** All of the file, in requests of this size, flushed at the end. */
export async function copyIn(path: string, daemon: Daemon, requestBytes: number): Promise<void> {
  await runChecked(
    requireProgram('nbdcopy'),
    ['--flush', `--request-size=${requestBytes}`, path, daemon.uri(volume)],
    { timeoutSeconds: 1800 },
  );
}
