import { runChecked } from '../test/support/children.ts';
import type { Finding } from './follow-report.ts';
import {
  type HistoryContestant,
  type HistoryPlan,
  OwnHistory,
  Overlay,
} from './history-contestants.ts';
import { putLoad } from './load.ts';
import { writePeersVolume } from './contestants.ts';
import { median, say } from './report.ts';
import type { Row } from './rows.ts';
import { readIntoPageCache, touchMemory } from './page-cache.ts';
import { timedLoad } from './timed-load.ts';

export interface HistoryWritesPlan {
  readonly directory: string;
  readonly sizeBytes: number;
  readonly rounds: number;
}

/** Every block once, in random order: what is done does not depend on how fast it is done. */
const load: Row['load'] = {
  tool: 'fio',
  arguments: [
    ['--rw=randwrite', '--bs=4k', '--iodepth=32'],
    ['--time_based=0', '--runtime=0', '--norandommap=0'],
  ].flat(),
};

type Pass = 'first' | 'again';
const passes: readonly { readonly pass: Pass; readonly label: string }[] = [
  { pass: 'first', label: 'every 4k block overwritten once, in random order, at depth 32' },
  { pass: 'again', label: 'the same once more' },
];

type OwnName = 'nothing' | 'window' | 'one snapshot' | 'eight snapshots';
type OverlayName = 'overlay' | 'overlay with subclusters';
type Name = OwnName | OverlayName;

const own: Readonly<Record<OwnName, { snapshots: number; settings: readonly string[] }>> = {
  nothing: { snapshots: 0, settings: [] },
  window: { snapshots: 0, settings: ['--history', '24h'] },
  'one snapshot': { snapshots: 1, settings: [] },
  'eight snapshots': { snapshots: 8, settings: [] },
};
const overlays: readonly OverlayName[] = ['overlay', 'overlay with subclusters'];
const names = [...(Object.keys(own) as OwnName[]), ...overlays];

const windowBar = 0.75;
const overlayBar = 1.5;

/** Thousand operations a second, one for each round. */
type Rates = Map<Name, Record<Pass, number[]>>;

/** What it costs hosts that the past is kept. */
export async function measureHistoryWrites(plan: HistoryWritesPlan): Promise<Finding[]> {
  const { directory, sizeBytes, rounds } = plan;
  say(`writing the volumes once, in ${directory}`);
  const contentsFrom = await writePeersVolume({ directory, sizeBytes, preSharedKeyFile: '' });
  const contestants = new Map<Name, HistoryContestant>();
  try {
    for (const name of names) {
      const file = name.replaceAll(' ', '-');
      contestants.set(name, await start(name, { directory, name: file, contentsFrom, sizeBytes }));
    }
    const rates: Rates = new Map(names.map((name) => [name, { first: [], again: [] }]));
    for (let round = 0; round < rounds; round += 1) {
      for (let turn = 0; turn < names.length; turn += 1) {
        // Nobody is always the first one.
        const name = names[(round + turn) % names.length] ?? 'nothing';
        const contestant = contestants.get(name);
        if (contestant) await measure(plan, name, contestant, rates);
      }
    }
    return passes.flatMap((each) => findingsOf(each, rates));
  } finally {
    for (const contestant of contestants.values()) await contestant.stop();
  }
}

async function start(name: Name, plan: HistoryPlan): Promise<HistoryContestant> {
  if (name === 'overlay' || name === 'overlay with subclusters') {
    return new Overlay(plan, plan.contentsFrom, name === 'overlay with subclusters');
  }
  const { sizeBytes } = plan;
  return OwnHistory.start({ ...plan, ...own[name] }, (uri, seconds) =>
    putLoad(
      { load: { tool: 'bench-client', arguments: ['--depth=32'] } },
      { uri, sizeBytes, seconds, preSharedKeyFile: undefined },
    ),
  );
}

async function measure(
  plan: HistoryWritesPlan,
  name: Name,
  contestant: HistoryContestant,
  rates: Rates,
): Promise<void> {
  await contestant.begin();
  // What was not used for a while may be gone from it: whoever was last would be the quickest.
  await readIntoPageCache(contestant.file);
  for (const { pass } of passes) {
    try {
      await contestant.settled();
      await runChecked('sync', ['-f', plan.directory], { timeoutSeconds: 600 });
      await touchMemory();
      const done = await timedLoad({ load }, contestant, {
        sizeBytes: plan.sizeBytes,
        seconds: 1800,
      });
      const rate = done.operations / done.seconds / 1000;
      rates.get(name)?.[pass].push(rate);
      const { p50, p99 } = done.latencyMicroseconds;
      say(
        `${pass.padEnd(6)} ${name.padEnd(25)} ${rate.toFixed(2).padStart(8)} thousand operations/s` +
          `  p50 ${p50.toFixed(0)} us  p99 ${p99.toFixed(0)} us`,
      );
    } catch (error) {
      throw new Error(`${pass} on ${name}: ${contestant.output.slice(-2000)}`, { cause: error });
    }
  }
}

function findingsOf(
  { pass, label }: { readonly pass: Pass; readonly label: string },
  rates: Rates,
): Finding[] {
  const of = (name: Name): number[] => rates.get(name)?.[pass] ?? [];
  const ratio = (
    name: OwnName,
    others: readonly Name[],
    against: string,
    bar: number | undefined,
  ): Finding => {
    const mine = of(name);
    const best = mine.map((_, round) => Math.max(...others.map((other) => of(other)[round] ?? 0)));
    const value = median(mine.map((rate, round) => rate / (best[round] ?? Number.NaN)));
    return {
      id: `${pass}: ${name} to ${against}`,
      label: `${label}: ${name} to ${against}`,
      text: `${value.toFixed(2)} (${median(mine).toFixed(1)} and ${median(best).toFixed(1)} thousand/s)`,
      value,
      bar: bar === undefined ? null : { kind: 'at least', value: bar, text: String(bar) },
      details: { rates: mine, others: best },
    };
  };
  return [
    ratio('window', ['nothing'], 'nothing', windowBar),
    ratio('one snapshot', ['nothing'], 'nothing', undefined),
    ratio('eight snapshots', ['nothing'], 'nothing', undefined),
    ratio('one snapshot', overlays, 'qemu-nbd on a qcow2 overlay', overlayBar),
    ratio('eight snapshots', overlays, 'qemu-nbd on a qcow2 overlay', overlayBar),
  ];
}
