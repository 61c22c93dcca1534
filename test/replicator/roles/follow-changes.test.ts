import { expect, test } from 'vitest';
import { MiB } from '../../../src/platform/limits.ts';
import { History, TestHost } from '../../journal/test-host.ts';
import { Fleet } from '../fleet.ts';

const sizeBytes = 1 * MiB;

test('a volume that is on its way when another pace is chosen takes its records', async () => {
  const fleet = new Fleet('volume under way');
  const primary = await fleet.start('alpha');
  await primary.verb('group create', { group: 'g', journalSize: 64 * MiB });
  const secondary = await fleet.start('beta');
  await secondary.verb('follow', { group: 'g', from: primary.url });
  const slow = { kind: 'slow', operation: 'sync', role: 'segment', milliseconds: 500 } as const;
  secondary.machine.faults.add(slow);
  await primary.verb('volume create', { volume: 'g/v', size: sizeBytes });
  await secondary.until(() => secondary.group().watermarks.newest > 0);
  // Received, and not durable yet: what follows it does not find it in the catalog.
  expect(secondary.group().catalog.volumes).toEqual([]);
  await secondary.verb('follow', { group: 'g', from: primary.url, pace: 'interval:50ms' });
  const history = new History();
  const host = new TestHost(primary, 'g/v', history);
  await host.write(0, Buffer.alloc(4096, 7));
  await secondary.until(() => secondary.group().watermarks.newest === 2, 300);
  secondary.machine.faults.clear();
  await secondary.caughtUp(primary);
  const found = await new TestHost(secondary, 'g/v').read(0, sizeBytes);
  expect(history.contents('g/v', sizeBytes, 2).equals(found as Buffer)).toBe(true);
});

test('a follower that has nothing yet is followed', async () => {
  const fleet = new Fleet('follow nothing');
  const primary = await fleet.start('alpha');
  await primary.verb('group create', { group: 'g', journalSize: 64 * MiB });
  const secondary = await fleet.start('beta');
  await secondary.verb('follow', { group: 'g', from: primary.url });
  expect(secondary.group().catalog.lineage).toEqual([]);
  const third = await fleet.start('gamma');
  await third.verb('follow', { group: 'g', from: secondary.url });
  await primary.verb('volume create', { volume: 'g/v', size: sizeBytes });
  await third.caughtUp(primary);
  expect(third.group().catalog.volumes).toMatchObject([{ name: 'v', sizeBytes }]);
});

test('a primary that takes back what it handed over is followed on', async () => {
  const fleet = new Fleet('take back');
  const primary = await fleet.startPrimary(sizeBytes);
  const secondaries = [await fleet.start('beta'), await fleet.start('gamma')];
  for (const secondary of secondaries) {
    await secondary.verb('follow', { group: 'g', from: primary.url });
    await secondary.caughtUp(primary);
  }
  const [heir, other] = secondaries;
  await primary.until(() => primary.status().secondaries[0]?.state === 'following');
  heir?.kill();
  await primary.verb('handoff', { group: 'g', to: 'beta' });
  // The heir never came: in the same opening of its journal the giver begins another generation.
  await primary.verb('promote', { group: 'g', force: true });
  const host = new TestHost(primary, 'g/v', new History());
  await host.write(0, Buffer.alloc(4096, 7));
  await other?.caughtUp(primary);
  expect(other?.group().catalog.lineage).toEqual(primary.group().catalog.lineage);
});

test.each(['comes back', 'copies anew'])(
  'an heir that %s after the giver took the group back is secondary',
  async (how) => {
    const fleet = new Fleet(`late heir ${how}`);
    const primary = await fleet.startPrimary(sizeBytes);
    const heir = await fleet.start('beta');
    await heir.verb('follow', { group: 'g', from: primary.url });
    await heir.caughtUp(primary);
    await primary.until(() => primary.status().secondaries[0]?.state === 'following');
    heir.kill();
    await primary.verb('handoff', { group: 'g', to: 'beta' });
    await primary.verb('promote', { group: 'g', force: true });
    fleet.links.cut('alpha', 'beta');
    await heir.start();
    if (how === 'copies anew') {
      fleet.links.mend('alpha', 'beta');
      await heir.verb('group delete', { group: 'g', force: true });
      await heir.verb('follow', { group: 'g', from: primary.url });
    }
    fleet.links.mend('alpha', 'beta');
    await heir.caughtUp(primary);
    await heir.fleet.pass(10_000);
    expect([primary.status().role, heir.status().role]).toEqual(['primary', 'secondary']);
    await new TestHost(primary, 'g/v', new History()).write(0, Buffer.alloc(4096, 7));
    await heir.caughtUp(primary);
  },
);

test('a handoff that comes together with what came of it is over', async () => {
  const fleet = new Fleet('settled');
  const primary = await fleet.startPrimary(sizeBytes);
  const heir = await fleet.start('beta');
  await heir.verb('follow', { group: 'g', from: primary.url });
  await heir.caughtUp(primary);
  await primary.until(() => primary.status().secondaries[0]?.state === 'following');
  await primary.verb('handoff', { group: 'g', to: 'beta' });
  await heir.until(() => heir.status().role === 'primary');
  await new TestHost(heir, 'g/v', new History()).write(0, Buffer.alloc(4096, 7));
  // Both are received before either is durable.
  const third = await fleet.start('gamma');
  const slow = { kind: 'slow', operation: 'sync', role: 'segment', milliseconds: 500 } as const;
  third.machine.faults.add(slow);
  await third.verb('follow', { group: 'g', from: heir.url });
  await third.caughtUp(heir);
  expect(third.group().catalog.handedOver).toBeUndefined();
});

test('a journal alone that has not everything gives no contents', async () => {
  const fleet = new Fleet('relay');
  const primary = await fleet.startPrimary(sizeBytes);
  const history = new History();
  const host = new TestHost(primary, 'g/v', history);
  const early = await fleet.start('early');
  await early.verb('follow', { group: 'g', from: primary.url, journalOnly: true });
  await host.write(0, Buffer.alloc(4096, 7));
  await host.flush();
  await early.caughtUp(primary);
  await primary.until(() => primary.group().watermarks.applied === 2);
  primary.group().hurryApply();
  await primary.until(() => primary.group().watermarks.released === 2);
  const late = await fleet.start('late');
  await late.verb('follow', { group: 'g', from: primary.url, journalOnly: true });
  const secondary = await fleet.start('beta');
  await expect(secondary.verb('follow', { group: 'g', from: late.url })).rejects.toThrow(
    'is a journal alone, from update 3 on',
  );
  await secondary.verb('follow', { group: 'g', from: early.url });
  await host.write(8192, Buffer.alloc(4096, 8));
  await secondary.caughtUp(primary);
  const found = await new TestHost(secondary, 'g/v').read(0, sizeBytes);
  expect(history.contents('g/v', sizeBytes, 3).equals(found as Buffer)).toBe(true);
  await secondary.verb('follow', { group: 'g', from: late.url });
  await secondary.caughtUp(primary);
});

test('a volume that is deleted before its contents came is waited for no more', async () => {
  const fleet = new Fleet('deleted while copied');
  const primary = await fleet.start('alpha');
  await primary.verb('group create', { group: 'g', journalSize: 64 * MiB });
  await primary.verb('group configure', { group: 'g', deleteDelay: '0s' });
  await primary.verb('volume create', { volume: 'g/v', size: sizeBytes });
  const host = new TestHost(primary, 'g/v');
  await host.write(0, Buffer.alloc(4096, 7));
  await host.flush();
  host.close();
  const { newest } = primary.group().watermarks;
  await primary.until(() => primary.group().watermarks.applied === newest);
  primary.group().hurryApply();
  await primary.until(() => primary.group().watermarks.released === newest);
  const secondary = await fleet.start('beta');
  await secondary.verb('follow', { group: 'g', from: primary.url });
  await secondary.verb('suspend', { group: 'g' });
  expect(secondary.group().follow.state?.copies).toHaveLength(1);
  await primary.verb('volume delete', { volume: 'g/v', force: true });
  await secondary.verb('resume', { group: 'g' });
  await secondary.caughtUp(primary);
  expect(secondary.group().follow.state?.copies).toEqual([]);
});

test('a follower that has not all contents does not leave its source', async () => {
  const fleet = new Fleet('unfollow a copy');
  const primary = await fleet.startPrimary(sizeBytes);
  const history = new History();
  const host = new TestHost(primary, 'g/v', history);
  await host.write(0, Buffer.alloc(4096, 7));
  await host.flush();
  await primary.until(() => primary.group().watermarks.applied === 2);
  primary.group().hurryApply();
  await primary.until(() => primary.group().watermarks.released === 2);
  const secondary = await fleet.start('beta');
  await secondary.verb('follow', { group: 'g', from: primary.url });
  await secondary.verb('suspend', { group: 'g' });
  expect(secondary.group().follow.state?.copies).toHaveLength(1);
  await expect(secondary.verb('unfollow', { group: 'g' })).rejects.toThrow('of no one instant');
  await secondary.verb('resume', { group: 'g' });
  await secondary.caughtUp(primary);
  await secondary.verb('unfollow', { group: 'g' });
  const found = await new TestHost(secondary, 'g/v').read(0, sizeBytes);
  expect(history.contents('g/v', sizeBytes, 2).equals(found as Buffer)).toBe(true);
});

test('a volume that failed is told of no more when it is deleted', async () => {
  const fleet = new Fleet('deleted while failing');
  const primary = await fleet.start('alpha');
  await primary.verb('group create', { group: 'g', journalSize: 64 * MiB });
  await primary.verb('group configure', { group: 'g', deleteDelay: '0s' });
  await primary.verb('volume create', { volume: 'g/v', size: sizeBytes });
  const secondary = await fleet.start('beta');
  await secondary.verb('follow', { group: 'g', from: primary.url });
  await secondary.caughtUp(primary);
  secondary.machine.faults.add({ kind: 'write_error', operation: 'write', role: 'volume' });
  const host = new TestHost(primary, 'g/v');
  await host.write(0, Buffer.alloc(4096, 7));
  host.close();
  await secondary.until(() => secondary.group().conditions.has('g/v', 'volume_failed'));
  await primary.verb('volume delete', { volume: 'g/v', force: true });
  await secondary.until(() => secondary.group().catalog.volumes.length === 0);
  expect(secondary.group().conditions.list()).toEqual([]);
});

test('a volume comes though its new file cannot be opened at once', async () => {
  const fleet = new Fleet('created while failing');
  const primary = await fleet.start('alpha');
  await primary.verb('group create', { group: 'g', journalSize: 64 * MiB });
  const secondary = await fleet.start('beta');
  await secondary.verb('follow', { group: 'g', from: primary.url });
  secondary.machine.faults.add({ kind: 'read_error', operation: 'read', role: 'volume', nth: 1 });
  await primary.verb('volume create', { volume: 'g/v', size: sizeBytes });
  const history = new History();
  await new TestHost(primary, 'g/v', history).write(0, Buffer.alloc(4096, 7));
  await secondary.caughtUp(primary);
  secondary.machine.faults.clear();
  const found = await new TestHost(secondary, 'g/v').read(0, sizeBytes);
  expect(history.contents('g/v', sizeBytes, 2).equals(found as Buffer)).toBe(true);
});

test('volumes whose files a start has made are there after a power loss', async () => {
  const kept: boolean[] = [];
  for (let attempt = 0; attempt < 8; attempt += 1) {
    const fleet = new Fleet(`created by a start ${attempt}`);
    const primary = await fleet.start('alpha');
    await primary.verb('group create', { group: 'g', journalSize: 64 * MiB });
    const secondary = await fleet.start('beta');
    await secondary.verb('follow', { group: 'g', from: primary.url });
    // The record is durable, and the file is not there.
    secondary.machine.faults.add({ kind: 'death', operation: 'entry', role: 'volume', nth: 1 });
    await primary.verb('volume create', { volume: 'g/v', size: sizeBytes });
    await secondary.until(() => secondary.daemon.isDead);
    secondary.machine.faults.clear();
    await secondary.start();
    expect(secondary.group().catalog.volumes).toHaveLength(1);
    secondary.losePower();
    await secondary.start();
    kept.push(secondary.group().conditions.list().length === 0);
  }
  expect(kept).toEqual(kept.map(() => true));
});
