import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { must } from '../../src/platform/assert.ts';
import { KiB, MiB } from '../../src/platform/limits.ts';
import { NbdClient } from '../../src/nbd/client.ts';
import { FuzzRandom } from '../fuzz/fuzz-random.ts';
import { until } from '../support/children.ts';
import {
  historyOf,
  PastLoad,
  type PastSystem,
  pastSystemsOf,
  volumesBytes,
} from './past-systems.ts';
import type { RecordedHistory } from './recorded-history.ts';

const rounds = 10;
const snapshotsMax = 6;

const { all: systems, start } = pastSystemsOf('snapshots');

/** Everybody has all that the primary has, and every snapshot there is, which holds what it has to, at the same addresses. */
async function compare(recorded: RecordedHistory): Promise<void> {
  const [primary] = systems;
  const { watermarks } = await must(primary, 'there is a primary').status();
  recorded.poll();
  // A primary numbers records of its own, too.
  expect(recorded.number).toBeGreaterThanOrEqual(watermarks.newest);
  for (const system of systems) {
    await system.applied(watermarks.newest);
    const { snapshots } = await system.status();
    const living = snapshots.filter(({ state }) => state === 'normal');
    expect(living.map(({ name }) => name)).toEqual([...recorded.snapshots.keys()]);
    for (const volume of recorded.volumes) {
      const newest = recorded.contentsAt(volume, watermarks.newest);
      expectSame(await system.contents(`g/${volume}`), newest, `${system.name}: g/${volume}`);
      for (const [name, { number }] of recorded.snapshots) {
        const contents = await system.contents(`g/${volume}@${name}`);
        const expected = recorded.contentsAt(volume, number);
        expectSame(contents, expected, `${system.name}: g/${volume}@${name}, update ${number}`);
      }
    }
  }
  compareAreas(recorded);
}

function compareAreas(recorded: RecordedHistory): void {
  const [primary, ...others] = systems;
  for (const [name, { areas }] of recorded.snapshots) {
    for (const area of areas) {
      const expected = readFileSync(must(primary, 'there is a primary').volumePath(area));
      for (const other of others) {
        const contents = readFileSync(other.volumePath(area));
        expectSame(contents, expected, `${other.name}: area ${area} of snapshot ${name}`);
      }
    }
  }
}

function expectSame(contents: Buffer, expected: Buffer, what: string): void {
  if (contents.equals(expected)) return;
  let at = 0;
  while (contents[at] === expected[at]) at += 1;
  expect.fail(`${what} differs from byte ${at} on, of ${contents.length} and ${expected.length}`);
}

async function begin(): Promise<{ primary: PastSystem; recorded: RecordedHistory }> {
  const primary = await start('one');
  const settings = ['--sync-timeout', '500ms', '--on-sync-loss', 'degrade'];
  await primary.createGroup('64MiB', volumesBytes, ...settings);
  return { primary, recorded: historyOf(primary) };
}

async function join(name: string, ...options: string[]): Promise<PastSystem> {
  const system = await start(name);
  await system.follow(must(systems[0], 'there is a primary'), ...options);
  return system;
}

it('a snapshot is the same on all systems, whoever is killed while it is made, kept or deleted', async () => {
  const { primary, recorded } = await begin();
  await join('two', '--sync');
  await join('three');
  const random = new FuzzRandom(20);
  let made = 0;
  let kills = 0;
  let operations = 0;
  for (let round = 0; round < rounds; round += 1) {
    // One that comes late has what was preserved before it came.
    if (round === rounds / 2) await join('four');
    const load = await PastLoad.begin(random, primary);
    await sleep(random.below(100));
    const living = [...recorded.snapshots.keys()];
    const changes: Promise<unknown>[] = [];
    if (living.length < snapshotsMax) {
      made += 1;
      changes.push(primary.control.change('snapshot create', { snapshot: `g@s${made}` }));
    }
    if (living.length > 2 || (living.length > 0 && random.chance(3)))
      changes.push(
        primary.control.change('snapshot delete', { snapshot: `g@${random.pick(living)}` }),
      );
    const ended = Promise.allSettled(changes);
    await sleep(random.below(random.chance(2) ? 20 : 150));
    if (!random.chance(4)) {
      kills += 1;
      await random.pick(systems).daemon.kill();
    }
    await ended;
    await load.end();
    operations += load.operations;
    for (const { daemon } of systems) if (daemon.pid === 0) await daemon.start();
    await compare(recorded);
  }
  expect(kills).toBeGreaterThan(rounds / 3);
  expect(recorded.snapshots.size).toBeGreaterThan(1);
  expect(operations).toBeGreaterThan(100);
});

it('a system that was left behind has the same snapshots when it is back', async () => {
  const { primary, recorded } = await begin();
  const three = await join('three');
  const random = new FuzzRandom(21);
  const load = await PastLoad.begin(random, primary);
  await sleep(200);
  await primary.control.change('snapshot create', { snapshot: 'g@before' });
  await sleep(200);
  await load.end();
  await compare(recorded);
  await three.control.change('suspend', { group: 'g' });
  await primary.control.change('snapshot create', { snapshot: 'g@meanwhile' });
  const client = await NbdClient.connectUri(primary.daemon.uri('g/v'));
  // More than the journal has room for: what the follower lacks is released.
  for (let bytes = 0; bytes < 96 * MiB; bytes += 512 * KiB) {
    await client.write(bytes % (volumesBytes.v - 512 * KiB), random.bytes(512 * KiB));
    recorded.poll();
  }
  await client.close();
  await primary.control.change('snapshot delete', { snapshot: 'g@before' });
  await primary.control.change('snapshot create', { snapshot: 'g@after' });
  const { secondaries } = await primary.status();
  expect(secondaries).toMatchObject([{ name: 'three', state: 'behind' }]);
  await three.control.change('resume', { group: 'g' });
  await until(
    () => 'three does not come back',
    60,
    async () => (await primary.status()).secondaries[0]?.state === 'following',
  );
  await compare(recorded);
  expect([...recorded.snapshots.keys()]).toEqual(['meanwhile', 'after']);
});
