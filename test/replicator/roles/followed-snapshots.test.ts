import { expect, test } from 'vitest';
import { MiB } from '../../../src/platform/limits.ts';
import { SnapshotFleet, snapshotNamed } from './snapshot-fleet.ts';

const timeout = 60_000;

test('every system that follows keeps the same blocks at the same addresses', {
  timeout,
}, async () => {
  const setting = await SnapshotFleet.begin('followed');
  const { alpha } = setting;
  const beta = await setting.follow('beta', alpha);
  await setting.snapshot(alpha, 's1');
  await setting.write(alpha, 60);
  const gamma = await setting.follow('gamma', beta);
  await setting.snapshot(alpha, 's2');
  await setting.write(alpha, 60);
  // It has no record from before them: areas are copied.
  const late = await setting.follow('late', alpha);
  await setting.write(alpha, 30);
  await setting.snapshot(alpha, 's3');
  await setting.write(alpha, 60);
  for (const system of [beta, gamma, late]) await setting.checkSame(system, alpha);
  await alpha.verb('snapshot delete', { snapshot: 'g@s2' });
  await setting.write(alpha, 20);
  for (const system of [beta, gamma, late]) await setting.checkSame(system, alpha);
  await alpha.verb('snapshot delete', { snapshot: 'g@s1' });
  expect(alpha.group().snapshots.list.map(({ name }) => name)).toEqual(['s3']);
  for (const system of [beta, gamma, late]) await setting.checkSame(system, alpha);
  await setting.check(alpha);
});

test('a journal alone hands snapshots on', { timeout }, async () => {
  const setting = await SnapshotFleet.begin('journal alone');
  const { alpha, fleet } = setting;
  const relay = await fleet.start('relay');
  await relay.verb('follow', { group: 'g', from: alpha.url, journalOnly: true });
  const beta = await setting.follow('beta', relay);
  await setting.snapshot(alpha, 's1');
  await setting.write(alpha, 60);
  await setting.checkSame(beta, alpha);
});

test('who takes over goes on preserving, and who comes back has what it preserves', {
  timeout,
}, async () => {
  const setting = await SnapshotFleet.begin('taken over');
  const { alpha, fleet } = setting;
  const beta = await setting.follow('beta', alpha);
  await setting.snapshot(alpha, 's1');
  await setting.write(alpha, 40);
  await beta.caughtUp(alpha);
  fleet.links.cut('alpha', 'beta');
  const { newest: fork } = beta.group().watermarks;
  // Of these only one system knows.
  const shared = setting.history.through(fork);
  await setting.snapshot(alpha, 'lost');
  await setting.write(alpha, 40);
  alpha.kill();
  setting.history = shared;
  await beta.verb('promote', { group: 'g', force: true });
  await setting.write(beta, 40);
  await setting.snapshot(beta, 's2');
  await setting.write(beta, 40);
  await setting.check(beta);
  fleet.links.mend('alpha', 'beta');
  await alpha.start();
  await alpha.verb('follow', { group: 'g', from: beta.url, rewind: true });
  await setting.checkSame(alpha, beta);
  expect(alpha.group().snapshots.living.map(({ name }) => name)).toEqual(['s1', 's2']);
});

test('who was left behind comes back with snapshots made and deleted meanwhile', {
  timeout,
}, async () => {
  const setting = await SnapshotFleet.begin('left behind');
  const { alpha, fleet } = setting;
  const beta = await setting.follow('beta', alpha);
  await setting.snapshot(alpha, 's1');
  await setting.write(alpha, 20);
  await setting.snapshot(alpha, 's2');
  await setting.write(alpha, 20);
  await beta.caughtUp(alpha);
  fleet.links.cut('alpha', 'beta');
  await setting.write(alpha, 20);
  await alpha.verb('snapshot delete', { snapshot: 'g@s1' });
  await setting.snapshot(alpha, 's3');
  const isBehind = (): boolean => alpha.status().secondaries[0]?.state === 'behind';
  for (let round = 0; !isBehind(); round += 1) {
    expect(round).toBeLessThan(100);
    await setting.write(alpha, 40, MiB / 8);
  }
  await setting.snapshot(alpha, 's4');
  await setting.write(alpha, 20);
  fleet.links.mend('alpha', 'beta');
  await setting.checkSame(beta, alpha);
  expect(() => snapshotNamed(beta, 's1')).toThrow('has snapshot s1');
  expect(beta.status().conditions).toEqual([]);
});

test('a follower preserves without a read of its volume', { timeout }, async () => {
  const setting = await SnapshotFleet.begin('unread', 0);
  const { alpha } = setting;
  const beta = await setting.follow('beta', alpha);
  // Blocks that are written in part are read back for their checksums.
  await beta.verb('group configure', { group: 'g', checksums: 'off' });
  await beta.caughtUp(alpha);
  await setting.snapshot(alpha, 's1');
  await beta.caughtUp(alpha);
  const volume = beta.group().volumes.get('v')?.backingFile ?? '';
  beta.machine.faults.add({
    kind: 'read_error',
    operation: 'read',
    role: 'volume',
    path: volume,
  });
  await setting.write(alpha, 60);
  await beta.caughtUp(alpha);
  expect(beta.machine.counter.of('read_error')).toBe(0);
  beta.machine.faults.clear();
  await setting.checkSame(beta, alpha);
});

test('a promotion as of an earlier update leaves out snapshots behind it', {
  timeout,
}, async () => {
  const setting = await SnapshotFleet.begin('earlier');
  const { alpha } = setting;
  const beta = await setting.follow('beta', alpha);
  const gamma = await setting.follow('gamma', beta);
  await setting.snapshot(alpha, 's1');
  await setting.write(alpha, 20);
  await beta.caughtUp(alpha);
  beta.group().driver.hold(true);
  await setting.write(alpha, 30);
  const { newest: at } = alpha.group().watermarks;
  await setting.write(alpha, 10);
  await setting.snapshot(alpha, 'left-out');
  await setting.write(alpha, 30);
  await beta.until(() => beta.group().watermarks.durable === alpha.group().watermarks.newest);
  await gamma.caughtUp(alpha);
  alpha.kill();
  await beta.verb('promote', { group: 'g', at: String(at) });
  setting.history = setting.history.through(at);
  expect(beta.group().snapshots.living.map(({ name }) => name)).toEqual(['s1']);
  expect(beta.group().catalog.volumes).toHaveLength(2);
  await setting.check(beta);
  await setting.write(beta, 20);
  await setting.snapshot(beta, 's2');
  await setting.write(beta, 20);
  await setting.check(beta);
  await gamma.verb('follow', { group: 'g', from: beta.url, rewind: true });
  await setting.checkSame(gamma, beta);
});
