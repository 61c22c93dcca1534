import type { Status } from '../src/control/schema-status.ts';
import { NbdClient } from '../src/nbd/client.ts';
import { sleep } from '../test/support/children.ts';
import type { Daemon } from '../test/support/daemon.ts';
import type { Finding } from './follow-report.ts';
import { discard, type FollowBench, startPrimary, volume } from './follow-systems.ts';

const MiB = 1024 ** 2;
const volumeBytes = 256 * MiB;
const journalBytes = 1024 * MiB;
const blockBytes = 4096;
const depth = 4;
/** How long a round takes at most, with what it leaves waiting behind it. */
const roundMilliseconds = 20;

/** One write of a host, by the clock that markers are made by. */
interface TimedWrite {
  readonly began: number;
  readonly ended: number;
}

/** What markers at an interval of a second cost the hosts of a cut over two systems. */
export async function measureMarkers(directory: string, seconds: number): Promise<Finding[]> {
  const bench: FollowBench = { directory, systems: new Set() };
  try {
    const first = await startPrimary(bench, { name: 'one', journalBytes }, volumeBytes);
    const second = await startPrimary(bench, { name: 'two', journalBytes }, volumeBytes);
    const members = [first, second].flatMap(({ listenPort }) => [
      '--member',
      `http://127.0.0.1:${listenPort}/bench`,
    ]);
    await first.client('cut', 'create', 'bench', ...members, '--interval', '1s');
    return await measureHosts([first, second], seconds);
  } finally {
    await discard(bench, ...bench.systems);
  }
}

async function measureHosts(daemons: readonly Daemon[], seconds: number): Promise<Finding[]> {
  const clients = await Promise.all(
    daemons.map((daemon) => NbdClient.connectUri(daemon.uri(volume))),
  );
  const most: TimedWrite[] = [];
  const mostSeconds = seconds / 4;
  const mostUntil = performance.now() + mostSeconds * 1000;
  await Promise.all(hostsOf(clients, (client) => writeUntil(client, mostUntil, 0, most)));
  // Of hosts that take all processors one would measure how those are shared out.
  const pauseMilliseconds = (2 * mostSeconds * 1000 * depth * clients.length) / most.length;

  const writes: TimedWrite[] = [];
  const markers = new Set<number>();
  const until = performance.now() + seconds * 1000;
  const before = await Promise.all(daemons.map(heldSeconds));
  const began = performance.now();
  const hosts = hostsOf(clients, (client) => writeUntil(client, until, pauseMilliseconds, writes));
  while (performance.now() < until) {
    for (const daemon of daemons) {
      const at = (await cutOf(daemon))?.newest?.at;
      if (at !== undefined && Date.parse(at) >= performance.timeOrigin + began) {
        markers.add(Date.parse(at));
      }
    }
    await sleep(300);
  }
  await Promise.all(hosts);
  const measuredSeconds = (performance.now() - began) / 1000;
  const after = await Promise.all(daemons.map(heldSeconds));
  for (const client of clients) await client.close();
  const held = Math.max(...after.map((total, at) => total - (before[at] ?? 0)));
  return findings(writes, [...markers], held / measuredSeconds);
}

function hostsOf(
  clients: readonly NbdClient[],
  run: (client: NbdClient) => Promise<void>,
): Promise<void>[] {
  return clients.flatMap((client) => Array.from({ length: depth }, () => run(client)));
}

/** One write after the other, one begun every `pauseMilliseconds` where they are not slower. */
async function writeUntil(
  client: NbdClient,
  until: number,
  pauseMilliseconds: number,
  writes: TimedWrite[],
): Promise<void> {
  const bytes = Buffer.alloc(blockBytes, 0x5a);
  while (performance.now() < until) {
    const offset = Math.floor(Math.random() * (volumeBytes / blockBytes)) * blockBytes;
    const began = performance.timeOrigin + performance.now();
    await client.write(offset, bytes);
    const ended = performance.timeOrigin + performance.now();
    writes.push({ began, ended });
    if (ended - began < pauseMilliseconds) await sleep(pauseMilliseconds - (ended - began));
  }
}

async function cutOf(daemon: Daemon) {
  const { body } = await daemon.get('/status');
  return (JSON.parse(body) as Status).cuts[0];
}

async function heldSeconds(daemon: Daemon): Promise<number> {
  return (await cutOf(daemon))?.members[0]?.heldSeconds ?? 0;
}

function findings(
  writes: readonly TimedWrite[],
  markers: readonly number[],
  heldShare: number,
): Finding[] {
  const inRounds = writes.filter(({ began, ended }) =>
    markers.some((at) => ended >= at && began <= at + roundMilliseconds),
  );
  const p99Milliseconds = percentile(inRounds.map(latencyOf), 0.99);
  const p99Always = percentile(writes.map(latencyOf), 0.99);
  return [
    {
      id: 'held-share',
      label: 'host time held by markers, one a second, hosts at half of what they can do',
      text: `${(heldShare * 100).toFixed(3)} % (${markers.length} markers)`,
      value: heldShare,
      bar: { kind: 'at most', value: 0.001, text: '0.1 %' },
      details: { markers: markers.length },
    },
    {
      id: 'round-p99',
      label: `p99 of 4k writes in flight within ${roundMilliseconds} ms of a marker, depth ${depth} on each of two systems`,
      text: `${p99Milliseconds.toFixed(2)} ms (${p99Always.toFixed(2)} ms over all)`,
      value: inRounds.length > 0 ? p99Milliseconds : Number.POSITIVE_INFINITY,
      bar: { kind: 'at most', value: 10, text: '10 ms' },
      details: { writes: writes.length, inRounds: inRounds.length, p99Always },
    },
  ];
}

function latencyOf({ began, ended }: TimedWrite): number {
  return ended - began;
}

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
