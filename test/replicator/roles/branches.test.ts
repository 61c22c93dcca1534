import { describe, expect, test } from 'vitest';
import { listBranches, saveBranch } from '../../../src/group/system/branches.ts';
import { inspectJournal } from '../../../src/journal/inspect.ts';
import type { RecordReport } from '../../../src/journal/inspect-report.ts';
import { must } from '../../../src/platform/assert.ts';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import type { FleetSystem } from '../fleet.ts';
import { HistoryTrial } from './history-trial.ts';

/** Alpha is diverged: what it wrote behind the fork fills several segments. */
async function diverged(seed: string, own: number) {
  const trial = await HistoryTrial.begin(seed, 256 * MiB);
  const { alpha, fleet } = trial;
  (await trial.write(alpha, 100)).close();
  const beta = await trial.follower('beta', alpha);
  fleet.links.cut('alpha', 'beta');
  const host = trial.host(alpha);
  for (let i = 0; i < own; i += 1) await host.write((i % 8) * MiB, Buffer.alloc(128 * KiB, i + 1));
  await host.flush();
  host.close();
  const fork = await trial.promote(beta, alpha);
  fleet.links.mend('alpha', 'beta');
  await alpha.until(() => alpha.status().role === 'diverged', 30_000);
  return { trial, alpha, beta, fork, newest: alpha.group().watermarks.newest };
}

function save(system: FleetSystem, fork: number) {
  const group = system.group();
  const deps = { disk: system.disk, clock: group.clock };
  return saveBranch(deps, group, system.system.filesOf(group), fork);
}

/** All that reads from a directory as offline inspection has it. */
function inspect(system: FleetSystem, directory: string) {
  const records: RecordReport[] = [];
  const report = inspectJournal(system.machine.attach(), directory, (each) => records.push(each));
  const numbers = records.flatMap(({ number, type }) =>
    number !== null && ['write', 'zero', 'hole', 'catalog'].includes(type) ? [number] : [],
  );
  return { report, numbers };
}

describe('a branch', () => {
  test('is saved, listed, exported and deleted', async () => {
    const { alpha, fork, newest } = await diverged('branch all', 300);
    const branch = must(await alpha.run(save(alpha, fork)), 'something is behind the fork');
    expect(branch).toMatchObject({ name: `1-${fork + 1}`, fork, newest });
    expect(await alpha.run(save(alpha, fork))).toEqual(branch);
    expect(await alpha.run(save(alpha, newest))).toBeUndefined();
    expect(alpha.status().branches).toMatchObject([{ name: branch.name, fork, newest }]);
    await expect(
      alpha.verb('branch export', { group: 'g', branch: '7-7', to: '/export' }),
    ).rejects.toMatchObject({ code: 'branch_not_found' });
    await alpha.verb('branch export', { group: 'g', branch: branch.name, to: '/export' });
    await expect(
      alpha.verb('branch export', { group: 'g', branch: branch.name, to: '/export' }),
    ).rejects.toMatchObject({ code: 'exists_differently' });
    const { report, numbers } = inspect(alpha, '/export');
    expect(report.damaged).toBe(false);
    const behind = numbers.filter((number) => number > fork);
    expect(behind).toEqual(Array.from({ length: newest - fork }, (_, i) => fork + 1 + i));
    await expect(
      alpha.verb('branch delete', { group: 'g', branch: branch.name }),
    ).rejects.toMatchObject({ code: 'confirmation_needed' });
    await alpha.verb('branch delete', { group: 'g', branch: branch.name, force: true });
    expect(alpha.status().branches).toEqual([]);
    await alpha.run(save(alpha, fork));
    await alpha.verb('group delete', { group: 'g', force: true });
    expect(alpha.disk.existsSync('/data/groups/g')).toBe(false);
  });

  test('is not saved where there is no room for it, and says what helps', async () => {
    const { alpha, fork } = await diverged('branch room', 400);
    await alpha.verb('group configure', { group: 'g', branchBudget: 16 * MiB });
    await expect(alpha.run(save(alpha, fork))).rejects.toMatchObject({ code: 'branch_no_room' });
    await expect(alpha.run(save(alpha, fork))).rejects.toThrow(
      /jnbd group configure g --branch-budget \d+MiB/,
    );
    await alpha.verb('group configure', { group: 'g', branchBudget: 128 * MiB });
    expect(await alpha.run(save(alpha, fork))).toMatchObject({ fork });
  });

  test.each(Array.from({ length: 12 }, (_, seed) => seed))(
    'is whole or not there after a crash in the middle of saving it, seed %i',
    async (seed) => {
      const { trial, alpha, fork, newest } = await diverged(`branch crash ${seed}`, 40);
      const saving = save(alpha, fork);
      saving.catch(() => undefined);
      await trial.pass(trial.fleet.random.fraction() * 40);
      if (seed % 2 === 0) alpha.losePower();
      else alpha.kill();
      await alpha.start();
      const files = alpha.system.filesOf(alpha.group());
      for (const { name } of listBranches(alpha.disk, files)) {
        expect(inspect(alpha, `${files.branches}/${name}`).report.damaged).toBe(false);
      }
      const branch = must(await alpha.run(save(alpha, fork)), 'something is behind the fork');
      expect(alpha.disk.listSync(files.branches)).toEqual([branch.name]);
      const { report, numbers } = inspect(alpha, `${files.branches}/${branch.name}`);
      expect(report.damaged).toBe(false);
      for (let number = fork + 1; number <= newest; number += 1) expect(numbers).toContain(number);
    },
  );
});
