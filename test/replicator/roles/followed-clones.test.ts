import { expect, test } from 'vitest';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import { TestHost } from '../../journal/test-host.ts';
import type { FleetSystem } from '../fleet.ts';
import { SnapshotFleet, sizeBytes } from './snapshot-fleet.ts';

const timeout = 60_000;
const ownBytes = Buffer.alloc(10 * KiB, 77);
const ownOffset = 9 * KiB + 512;

/** A clone of s1 there, with some bytes of its own; what it reads. */
async function cloneOn(setting: SnapshotFleet, system: FleetSystem): Promise<Buffer> {
  await system.caughtUp(setting.alpha);
  await system.verb('snapshot export', { snapshot: 'g@s1', writable: 'lab' });
  const host = new TestHost(system, 'g/v@lab');
  expect(await host.write(ownOffset, ownBytes)).toBeGreaterThan(0);
  await host.flush();
  host.close();
  const expected = Buffer.from(setting.contents.get('s1') ?? Buffer.alloc(0));
  ownBytes.copy(expected, ownOffset);
  return expected;
}

async function read(system: FleetSystem): Promise<Buffer | number> {
  const host = new TestHost(system, 'g/v@lab');
  await system.until(() => host.session.admitsRead(0, sizeBytes));
  const found = await host.read(0, sizeBytes);
  host.close();
  return found;
}

function cloneState(system: FleetSystem): string | undefined {
  return system.group().snapshots.clones.find('lab')?.state;
}

test('a clone on a follower keeps what it needs of a snapshot that is deleted at the source', {
  timeout,
}, async () => {
  const setting = await SnapshotFleet.begin('clone of a follower');
  const { alpha } = setting;
  const beta = await setting.follow('beta', alpha);
  await setting.snapshot(alpha, 's1');
  await setting.write(alpha, 40);
  const expected = await cloneOn(setting, beta);
  await setting.snapshot(alpha, 's2');
  await setting.write(alpha, 40);
  await beta.caughtUp(alpha);
  expect(expected.equals((await read(beta)) as Buffer)).toBe(true);
  expect(cloneState(beta)).toBe('normal');
  const open = new TestHost(beta, 'g/v@lab');
  await alpha.verb('snapshot delete', { snapshot: 'g@s1' });
  // What comes behind the delete overwrites, and preserves nothing for it.
  await alpha.verb('snapshot delete', { snapshot: 'g@s2' });
  await setting.write(alpha, 60);
  await beta.caughtUp(alpha);
  expect(cloneState(beta)).toBe('independent');
  expect(expected.equals((await open.read(0, sizeBytes)) as Buffer)).toBe(true);
  expect(open.revoked).toBeUndefined();
  open.close();
  beta.kill();
  await beta.start();
  expect(expected.equals((await read(beta)) as Buffer)).toBe(true);
  await setting.checkSame(beta, alpha);
  expect(beta.status().conditions).toEqual([]);
});

test('it does so also of what came with the record that deletes the snapshot', {
  timeout,
}, async () => {
  const setting = await SnapshotFleet.begin('clone of what came just now');
  const { alpha, fleet } = setting;
  const beta = await setting.follow('beta', alpha);
  const host = new TestHost(alpha, 'g/v', setting.history);
  await host.write(0, Buffer.alloc(64 * KiB, 5));
  await setting.snapshot(alpha, 's1');
  const expected = await cloneOn(setting, beta);
  fleet.links.cut('alpha', 'beta');
  // What these replace is preserved, and comes in one frame with the delete.
  for (let at = 0; at < 15; at += 1) await host.write(at * 4 * KiB, Buffer.alloc(512, 1 + at));
  await host.flush();
  host.close();
  await alpha.verb('snapshot delete', { snapshot: 'g@s1' });
  beta.machine.faults.add({
    kind: 'slow',
    operation: 'write',
    role: 'segment',
    milliseconds: 50,
    isLaterOnly: true,
  });
  fleet.links.mend('alpha', 'beta');
  await beta.caughtUp(alpha);
  expect(cloneState(beta)).toBe('independent');
  expect(expected.equals((await read(beta)) as Buffer)).toBe(true);
});

test('a clone on a follower that is left behind, and taken over, is what it was', {
  timeout,
}, async () => {
  const setting = await SnapshotFleet.begin('clone left behind');
  const { alpha, fleet } = setting;
  const beta = await setting.follow('beta', alpha);
  await setting.snapshot(alpha, 's1');
  await setting.write(alpha, 20);
  const expected = await cloneOn(setting, beta);
  fleet.links.cut('alpha', 'beta');
  await alpha.verb('snapshot delete', { snapshot: 'g@s1' });
  const isBehind = (): boolean => alpha.status().secondaries[0]?.state === 'behind';
  for (let round = 0; !isBehind(); round += 1) {
    expect(round).toBeLessThan(100);
    await setting.write(alpha, 40, MiB / 8);
  }
  fleet.links.mend('alpha', 'beta');
  await setting.checkSame(beta, alpha);
  expect(cloneState(beta)).toBe('independent');
  expect(expected.equals((await read(beta)) as Buffer)).toBe(true);
  alpha.kill();
  await beta.verb('promote', { group: 'g', force: true });
  await setting.write(beta, 20);
  expect(expected.equals((await read(beta)) as Buffer)).toBe(true);
});
