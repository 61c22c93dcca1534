import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { build, jnbd } from '../support/built-program.ts';
import type { CommandFailed } from '../support/daemon.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';
import { cutName, CutSystems, groupOf } from './cut-systems.ts';
import { DependentLoad, findMissing, heldValues } from './dependent-load.ts';

let directory: TemporaryDirectory;
let systems: CutSystems | undefined;
let load: DependentLoad | undefined;

beforeAll(async () => {
  await build();
});

beforeEach(() => {
  directory = temporaryDirectory('cut-certificates');
});

afterEach(async () => {
  await load?.end();
  await systems?.close();
  load = systems = undefined;
  directory.remove();
});

it('systems that know each other by certificates alone make markers, and are promoted at one; one that may only read changes nothing', async () => {
  const pki = join(directory.path, 'pki');
  await jnbd(['pki', 'init', pki]);
  for (const name of ['alpha', 'beta', 'gamma', 'delta']) {
    const rights = name === 'delta' ? ['--read-only'] : [];
    await jnbd(['pki', 'issue', pki, name, '--hosts', '127.0.0.1', ...rights]);
  }
  systems = await CutSystems.create(directory.path, pki);
  const { alpha, beta, gamma, delta } = systems;
  load = new DependentLoad(alpha, beta, 0);
  await systems.untilLevel();
  expect(await gamma.client('cut', 'mark', cutName, '--name', 'noon')).toMatchObject({
    result: 'done',
    marker: { name: 'noon' },
  });
  await systems.untilLevel();
  const { rounds, members, targets } = await systems.status(gamma);
  expect(rounds.committed).toBeGreaterThan(10);
  expect(members.map(({ obstacle }) => obstacle)).toEqual(['', '']);
  expect(targets[0]?.secondaries.map(({ state }) => state)).toEqual(['holding', 'holding']);
  const refused = await delta.client('cut', 'mark', cutName).then(
    () => '',
    (error: CommandFailed) => error.stderr,
  );
  expect(refused).toContain('to change anything');
  await Promise.all([alpha, beta].map((daemon) => daemon.kill()));
  await load.end();
  const promoted = await gamma.client('cut', 'promote', cutName, '--targets', 'east');
  expect(promoted).toMatchObject({ result: 'done' });
  const roles = await Promise.all([groupOf(gamma, 'a'), groupOf(delta, 'b')]);
  expect(roles.map(({ role }) => role)).toEqual(['primary', 'primary']);
  const held = await heldValues(gamma, delta);
  expect(findMissing(held)).toBe('');
  expect(held.a).toBeGreaterThan(0);
}, 120_000);
