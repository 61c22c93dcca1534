import { closeSync, ftruncateSync, openSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Child, runChecked, until } from '../test/support/children.ts';
import type { Daemon } from '../test/support/daemon.ts';
import { peer } from '../test/support/peers.ts';
import { requireProgram } from '../test/support/tools.ts';
import { type Finding, megabytesText } from './follow-report.ts';
import {
  copyIn,
  discard,
  type FollowBench,
  hotThreadSeconds,
  newestOf,
  startFollower,
  startPrimary,
  untilApplied,
  untilReceived,
  untilReleased,
  untilSynced,
  writeRandomFile,
} from './follow-systems.ts';
import { median, say } from './report.ts';

export interface CopyPlan {
  readonly sizeBytes: number;
  readonly rounds: number;
}

const KiB = 1024;
const GiB = 1024 ** 3;
const shareOfLimit = 0.7;
const hotSecondsPerGiB = 0.3;

/** The ways in which the same bytes come from one place to another, with their seconds, round for round. */
interface Ways {
  readonly copy: number[];
  readonly small: number[];
  readonly large: number[];
  readonly plain: number[];
  readonly nbdcopy: number[];
  readonly hotSeconds: number[];
}

/** (a) initial copy and catch-up against the plainest way, and (d) what serving costs the hot thread. */
export async function measureCopies(bench: FollowBench, plan: CopyPlan): Promise<Finding[]> {
  const { sizeBytes, rounds } = plan;
  const contents = join(bench.directory, 'contents');
  const journalBytes = 2 * sizeBytes;
  writeRandomFile(contents, sizeBytes);
  const primary = await startPrimary(bench, { name: 'source', journalBytes }, sizeBytes);
  await copyIn(contents, primary, 256 * KiB);
  await untilApplied(primary);
  const ways: Ways = { copy: [], small: [], large: [], plain: [], nbdcopy: [], hotSeconds: [] };
  for (let round = 1; round <= rounds; round += 1) {
    const took = (way: Exclude<keyof Ways, 'hotSeconds'>, seconds: number): void => {
      ways[way].push(seconds);
      say(`round ${round}  ${way.padEnd(8)} ${megabytesText(sizeBytes, seconds)}`);
    };
    took('plain', await plainDownload(bench, contents));
    await untilReleased(primary);
    const follower = await startFollower(bench, { name: 'follower', journalBytes }, primary);
    took('copy', await seconds(async () => untilSynced(follower, await newestOf(primary))));
    took('nbdcopy', await copyBetweenServers(bench, contents));
    for (const [way, requestBytes] of [
      ['small', 4 * KiB],
      ['large', 1024 * KiB],
    ] as const) {
      const { tookSeconds, hotSeconds } = await catchUp(primary, follower, contents, requestBytes);
      took(way, tookSeconds);
      if (way === 'small') ways.hotSeconds.push(hotSeconds / (sizeBytes / GiB));
    }
    await discard(bench, follower);
    await primary.client('secondary', 'remove', 'bench', 'follower');
  }
  await discard(bench, primary);
  rmSync(contents);
  return findings(ways, sizeBytes);
}

function findings(ways: Ways, sizeBytes: number): Finding[] {
  const size = `${(sizeBytes / GiB).toFixed(1)} GiB`;
  const compared = (id: 'copy' | 'small' | 'large', label: string): Finding => {
    const ratios = ways[id].map((own, at) => (ways.plain[at] ?? Number.NaN) / own);
    const toNbdcopy = ways[id].map((own, at) => (ways.nbdcopy[at] ?? Number.NaN) / own);
    const rate = (way: readonly number[]): string => megabytesText(sizeBytes, median(way));
    return {
      id,
      label,
      value: median(ratios),
      text: `${median(ratios).toFixed(2)} of a plain HTTP/2 download (${rate(ways[id])}, that ${rate(ways.plain)}); ${median(toNbdcopy).toFixed(2)} of nbdcopy between two nbdkit (${rate(ways.nbdcopy)})`,
      bar: { kind: 'at least', value: shareOfLimit, text: `${shareOfLimit} of the download` },
      details: { seconds: ways[id], plainSeconds: ways.plain, nbdcopySeconds: ways.nbdcopy },
    };
  };
  const hot = median(ways.hotSeconds);
  return [
    compared('copy', `initial copy of ${size}`),
    compared('small', `catch-up, ${size} in records of 4 KiB`),
    compared('large', `catch-up, ${size} in records of 256 KiB`),
    {
      id: 'hot-thread',
      label: 'processor time of the thread that serves hosts, for each GiB served (4 KiB)',
      value: hot,
      text: `${hot.toFixed(3)} s`,
      bar: { kind: 'at most', value: hotSecondsPerGiB, text: `${hotSecondsPerGiB} s` },
      details: { secondsPerGiB: ways.hotSeconds },
    },
  ];
}

async function seconds(run: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await run();
  return (performance.now() - started) / 1000;
}

/** The follower gets all of the file as records that it has nothing of yet. */
async function catchUp(
  primary: Daemon,
  follower: Daemon,
  contents: string,
  requestBytes: number,
): Promise<{ tookSeconds: number; hotSeconds: number }> {
  await follower.client('suspend', 'bench');
  await copyIn(contents, primary, requestBytes);
  await untilApplied(primary);
  const newest = await newestOf(primary);
  const hotBefore = hotThreadSeconds(primary);
  await follower.client('resume', 'bench');
  const tookSeconds = await seconds(() => untilReceived(follower, newest));
  const hotSeconds = hotThreadSeconds(primary) - hotBefore;
  await untilSynced(follower, newest);
  return { tookSeconds, hotSeconds };
}

async function plainDownload({ directory }: FollowBench, contents: string): Promise<number> {
  const tsx = fileURLToPath(import.meta.resolve('tsx'));
  const script = fileURLToPath(new URL('plain-download.ts', import.meta.url));
  const plain = ['--import', `file://${tsx}`, script];
  const server = new Child(process.execPath, [...plain, 'serve', contents]);
  const target = join(directory, 'downloaded');
  try {
    await until(
      () => `the plain server does not listen: ${server.output}`,
      20,
      () => /^\d+\n/.test(server.output),
    );
    const args = [...plain, 'get', server.output.trim(), target];
    const { stdout } = await runChecked(process.execPath, args, { timeoutSeconds: 1800 });
    return Number(stdout);
  } finally {
    server.signal('SIGKILL');
    await server.exit;
    rmSync(target, { force: true });
  }
}

/** What people do who have no replication. */
async function copyBetweenServers({ directory }: FollowBench, contents: string): Promise<number> {
  const target = join(directory, 'copied');
  const file = openSync(target, 'w');
  ftruncateSync(file, statSync(contents).size);
  closeSync(file);
  const servers = [
    await peer('nbdkit', { file: contents }),
    await peer('nbdkit', { file: target }),
  ];
  const [from, to] = servers;
  try {
    for (const server of servers) await server.start();
    return await seconds(async () => {
      const uris = [from?.uri() ?? '', to?.uri() ?? ''];
      await runChecked(requireProgram('nbdcopy'), ['--flush', ...uris], { timeoutSeconds: 1800 });
    });
  } finally {
    for (const server of servers) await server.stop();
    rmSync(target, { force: true });
  }
}
