import { expect, test } from 'vitest';
import type { Member } from '../../../src/group/catalog/members.ts';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import type { SimulatedMachine } from '../../journal/simulated-system.ts';
import { serve } from '../../journal/volume-under-test.ts';

const recordBytes = 100 * KiB;

function member(systemId: number, received: number, url?: string): Member {
  return { systemId, name: `s${systemId}`, received, url };
}

async function settle(machine: SimulatedMachine): Promise<void> {
  const { newest } = machine.group().watermarks;
  machine.group().hurryApply();
  await machine.until(() => machine.group().watermarks.applied === newest);
  machine.group().hurryApply();
  await machine.pass(1000);
}

function idsOf(members: readonly Member[]): number[] {
  return members.map(({ systemId }) => systemId).sort((a, b) => a - b);
}

test('who has the group is known from above and from below, also over a restart', async () => {
  const { machine } = await serve('known', { sizeBytes: 4 * MiB });
  const own = machine.system.systemId;
  const { followers } = machine.group();
  followers.register(7, 's7', 0);
  const told = { systemId: 7, received: 0, applied: 0, sent: 0, copied: [] };
  followers.acknowledge({ ...told, members: [member(8, 5, 'http://h:1'), member(own, 3)] });
  followers.sourceTold([member(1, 9, 'http://a:1'), member(2, 4), member(8, 3), member(own, 1)]);
  expect(idsOf(followers.members.list())).toEqual([1, 2, 7, 8]);
  expect(idsOf(followers.members.below())).toEqual([7, 8]);
  const eight = followers.members.list().find(({ systemId }) => systemId === 8);
  expect(eight).toMatchObject({ received: 5, url: 'http://h:1' });
  // Who is not told of any more is forgotten.
  followers.sourceTold([member(1, 9, 'http://a:1')]);
  expect(idsOf(followers.members.list())).toEqual([1, 7, 8]);
  machine.kill();
  await machine.start();
  const again = machine.group().followers;
  expect(idsOf(again.members.list())).toEqual([1, 7, 8]);
  expect(again.members.list().find(({ systemId }) => systemId === 1)?.url).toBe('http://a:1');
  again.drop(7);
  expect(idsOf(again.members.list())).toEqual([1]);
});

test('what another system may need is kept, in a part of the journal (SAFETY 15)', async () => {
  const setting = await serve('floor', { sizeBytes: 4 * MiB });
  const { machine } = setting;
  const { followers } = machine.group();
  await setting.writeMuch(50, recordBytes);
  followers.sourceTold([member(1, 40), member(2, 60)]);
  await setting.writeMuch(50, recordBytes);
  await setting.flush();
  await settle(machine);
  expect(machine.group().watermarks.released).toBe(40);
  followers.sourceTold([member(1, 70), member(2, 60)]);
  expect(machine.group().watermarks.released).toBe(60);
  machine.kill();
  await machine.start();
  setting.reopen();
  expect(machine.group().watermarks.released).toBeLessThanOrEqual(60);
  // One that stays where it is does not fill the journal, and hosts wait for nobody.
  await setting.writeMuch(1200, recordBytes);
  await setting.flush();
  await settle(machine);
  const { chain, watermarks } = machine.group();
  expect(watermarks.released).toBeGreaterThan(60);
  expect(chain.usedBytes).toBeLessThanOrEqual(chain.capacityBytes * 0.8);
  machine.group().followers.sourceTold([]);
  await settle(machine);
  expect(machine.group().watermarks.released).toBe(machine.group().watermarks.durable);
});
