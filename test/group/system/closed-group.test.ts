import { describe, expect, test } from 'vitest';
import type { FollowState } from '../../../src/group/catalog/follow-file.ts';
import { allowFollower, dropFollower } from '../../../src/group/system/followers-allowed.ts';
import type { RestartPlan } from '../../../src/group/system/restart-journal.ts';
import { SimulatedMachine } from '../../journal/simulated-system.ts';
import { ResyncSetting, sizeBytes } from '../../replicator/roles/resync-setting.ts';

const follow: FollowState = {
  formatVersion: 1,
  url: 'http://alpha:10810',
  sourceGroup: 'g',
  sourceSystemId: 7,
  sourceName: 'alpha',
  isSuspended: false,
  pace: 'immediate',
  batchSize: 'adaptive',
  links: 2,
  copies: [],
  shows: 0,
};

function filesIn({ disk }: SimulatedMachine, directory: string): Map<string, string | undefined> {
  const named = disk.listSync(directory).map((name) => `${directory}/${name}`);
  const files = named.filter((path) => !disk.isDirectorySync(path)).sort();
  const read = (path: string): string =>
    Buffer.from(disk.readFileSync(path, 'catalog') ?? []).toString();
  return new Map(files.map((path) => [path, read(path)]));
}

function planFor(machine: SimulatedMachine): RestartPlan {
  const { catalog, watermarks } = machine.group();
  const number = watermarks.newest + 100;
  const stretch = { generation: 2, system: 7, incarnation: 9, firstNumber: number };
  const lineage = [...catalog.lineage, stretch];
  return { number, catalog: { ...catalog, role: 'secondary', lineage }, follow, made: [] };
}

describe('a group that was closed', () => {
  test('takes back nothing of what the one has that was opened after it', async () => {
    const machine = new SimulatedMachine('closed');
    await machine.start();
    await machine.createGroup();
    const before = machine.group();
    allowFollower(before, 'beta');
    before.followers.register(1, 'beta', 0);
    before.followers.register(2, 'gamma', 0);
    await machine.run(machine.system.restartGroup(before, planFor(machine)));
    const after = machine.group();
    const directory = `${machine.system.directory}/groups/g`;
    const found = filesIn(machine, directory);
    expect([...found.keys()]).toContain(`${directory}/follow`);
    const attempts: (() => unknown)[] = [
      () => allowFollower(before, 'delta'),
      () => dropFollower(before, 'beta'),
      () => before.followers.drop(2),
      () => before.followers.register(3, 'delta', after.watermarks.newest),
      () => before.followers.leaveBehind(2),
      () => before.follow.write({ ...follow, isSuspended: true }),
      () => before.follow.remove(),
      () => before.changes.adoptStretch({ ...after.catalog.lineage[0]!, generation: 9 }),
    ];
    for (const attempt of attempts) {
      expect(attempt).toThrow(expect.objectContaining({ code: 'group_state' }));
    }
    before.changes.replaceSoon({ ...before.catalog, role: 'diverged' });
    before.followers.sourceTold([{ systemId: 4, name: 'x', received: 0, url: undefined }]);
    await machine.pass(60_000);
    expect(filesIn(machine, directory)).toEqual(found);
    allowFollower(after, 'delta');
    machine.kill();
    await machine.start();
    const { catalog, follow: kept } = machine.group();
    expect(catalog.lineage).toEqual(after.catalog.lineage);
    expect(catalog.allowedFollowers).toEqual(['beta', 'delta']);
    expect(kept.state).toEqual(follow);
  });

  test('is not told that a setting was changed which the next one does not have', async () => {
    const machine = new SimulatedMachine('closing');
    await machine.start();
    await machine.createGroup();
    const group = machine.group();
    const restarted = machine.system.restartGroup(group, planFor(machine));
    expect(() => allowFollower(group, 'delta')).toThrow('closed meanwhile');
    await machine.run(restarted);
    expect(machine.group().catalog.allowedFollowers).toBe(undefined);
  });

  test('does not begin anew in the place of another one of its name', async () => {
    const machine = new SimulatedMachine('closed deleted');
    await machine.start();
    const before = await machine.createGroup();
    const plan = planFor(machine);
    await machine.run(machine.system.deleteGroup('g', true));
    const after = await machine.createGroup();
    await expect(machine.run(machine.system.restartGroup(before, plan))).rejects.toThrow(
      'closed meanwhile',
    );
    expect(machine.group()).toBe(after);
    expect(after.state).toBe('normal');
    expect(machine.disk.existsSync(machine.system.filesOf(after).restart)).toBe(false);
  });

  test('loses no history where somebody was removed while its journal began anew', async () => {
    const setting = await ResyncSetting.begin('closed remove', true);
    const { primary, secondary, fleet } = setting;
    await secondary.verb('secondary allow', { group: 'g', secondary: 'gamma' });
    fleet.links.cut('alpha', 'beta');
    await setting.leaveBehind();
    // A newer stretch, so that the journal begins anew with another history.
    primary.kill();
    await primary.start();
    await setting.write(20, 0, sizeBytes);
    fleet.links.cut('beta', 'gamma', 'silent');
    const before = secondary.group();
    const call = { signal: new AbortController().signal, progress: () => undefined };
    const removed = secondary.daemon.composed.control.change(
      '/verbs/secondary-remove',
      { group: 'g', secondary: 'gamma' },
      call,
    );
    fleet.links.mend('alpha', 'beta');
    expect(await secondary.run(removed)).toMatchObject({ result: 'done' });
    expect(secondary.group()).not.toBe(before);
    await setting.resynced(secondary);
    const { lineage, allowedFollowers } = secondary.group().catalog;
    expect(lineage.length).toBeGreaterThan(before.catalog.lineage.length);
    expect(allowedFollowers).toEqual([]);
    secondary.kill();
    await secondary.start();
    expect(secondary.group().catalog.lineage).toEqual(lineage);
    expect(secondary.status().secondaries).toEqual([]);
  });
});
