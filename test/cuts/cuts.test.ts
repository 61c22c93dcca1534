import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { FuzzRandom } from '../fuzz/fuzz-random.ts';
import { build } from '../support/built-program.ts';
import { sleep, until } from '../support/children.ts';
import type { CommandFailed } from '../support/daemon.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';
import { cutName, CutSystems, groupOf } from './cut-systems.ts';
import { DependentLoad, findMissing, heldValues } from './dependent-load.ts';

const seed = Number(process.env['JNBD_CUTS_SEED'] ?? Date.now() % 2 ** 31);
const random = new FuzzRandom(seed);
const promote = ['cut', 'promote', cutName, '--targets', 'east'];

let directory: TemporaryDirectory;
let systems: CutSystems | undefined;
let load: DependentLoad | undefined;

beforeAll(async () => {
  await build();
});

beforeEach(() => {
  directory = temporaryDirectory('cuts');
});

afterEach(async () => {
  await load?.end();
  await systems?.close();
  load = systems = undefined;
  directory.remove();
});

it(`primaries that are lost, and a promotion that is killed, leave nothing that depends on what is missing (seed ${seed})`, async () => {
  systems = await CutSystems.create(directory.path);
  const { alpha, beta, gamma, delta } = systems;
  load = new DependentLoad(alpha, beta, 0);
  await systems.untilLevel();
  const named = await beta.client('cut', 'mark', cutName, '--name', 'noon');
  expect(named).toMatchObject({ result: 'done', marker: { name: 'noon' } });
  await sleep(500 + random.below(1000));
  await systems.untilLevel();
  const { rounds, newest, members } = await systems.status(delta);
  expect(rounds.committed).toBeGreaterThan(20);
  expect(newest?.ageSeconds).toBeLessThan(5);
  for (const { obstacle } of members) expect(obstacle).toBe('');
  expect(await alpha.metric('jnbd_cut_held_seconds_total', 'group="a"')).toBeGreaterThan(0);
  await Promise.all(
    [alpha, beta].map((daemon) => sleep(random.below(50)).then(() => daemon.kill())),
  );
  await load.end();
  const before = load.acknowledged;
  const dry = await gamma.client(...promote, '--dry-run');
  expect(dry).toMatchObject({ result: 'would_be_done' });
  const promoting = gamma.client(...promote).then(
    () => 'done',
    (error: CommandFailed) => error.stderr,
  );
  await sleep(100 + random.below(400));
  await delta.kill();
  const told = await promoting;
  await delta.start();
  // What is half done stays so until it is completed, and nothing else happens to it.
  const again = await delta.client(...promote);
  expect(again, `first: ${told}`).toMatchObject({ groups: [{ group: 'a' }, { group: 'b' }] });
  const roles = await Promise.all([groupOf(gamma, 'a'), groupOf(delta, 'b')]);
  expect(roles.map(({ role }) => role)).toEqual(['primary', 'primary']);
  const held = await heldValues(gamma, delta);
  expect(findMissing(held)).toBe('');
  expect(held.a).toBeGreaterThan(0);
  expect(held.a).toBeLessThanOrEqual(before + 1);
  expect(await gamma.client(...promote)).toMatchObject({ result: 'already_done' });
}, 120_000);

it('members, controllers and secondaries that are killed stop no host, and the cut goes on with them', async () => {
  systems = await CutSystems.create(directory.path);
  const { alpha, beta, gamma, delta } = systems;
  load = new DependentLoad(alpha, beta, 0);
  await systems.untilLevel();
  for (const daemon of [alpha, beta, gamma, delta]) {
    await sleep(random.below(300));
    await daemon.kill();
    const after = load.acknowledged;
    await sleep(random.below(500));
    if (daemon === gamma || daemon === delta) {
      // Hosts write to the primaries as ever.
      await until(
        () => 'hosts stand still',
        20,
        () => (load?.acknowledged ?? 0) > after + 5,
      );
    }
    await daemon.start();
  }
  await systems.untilLevel();
  await Promise.all([alpha, beta].map((daemon) => daemon.kill()));
  await load.end();
  expect(await delta.client(...promote)).toMatchObject({ result: 'done' });
  const held = await heldValues(gamma, delta);
  expect(findMissing(held)).toBe('');
  expect(held.a).toBeGreaterThan(0);
}, 120_000);
