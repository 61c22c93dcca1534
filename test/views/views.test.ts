import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { must } from '../../src/platform/assert.ts';
import { FuzzRandom } from '../fuzz/fuzz-random.ts';
import {
  historyOf,
  PastLoad,
  type PastSystem,
  pastSystemsOf,
  volumesBytes,
} from '../snapshots/past-systems.ts';
import type { RecordedHistory } from '../snapshots/recorded-history.ts';

const positions = 200;
/** One system is killed in the middle of every so many. */
const positionsPerKill = 25;
const pauseMillisecondsMax = 60;
/** Of hosts, so that the journal has room for all that they write. */
const writePauseMilliseconds = 20;

const { all: systems, start } = pastSystemsOf('views');

/** A view that is there, and what it shows. */
interface Shown {
  readonly system: PastSystem;
  readonly name: string;
  readonly number: number;
}

async function expectShown(recorded: RecordedHistory, { system, name, number }: Shown) {
  await system.shows(name);
  for (const volume of recorded.volumes) {
    const contents = await system.contents(`g/${volume}@${name}`);
    recorded.poll();
    if (contents.equals(recorded.contentsAt(volume, number))) continue;
    expect.fail(`${system.name}: g/${volume}@${name} is not as it was at update ${number}`);
  }
}

it('any instant of the window is shown as it was, by all systems, while hosts write and daemons are killed', async () => {
  const primary = await start('one');
  await primary.createGroup('1GiB', volumesBytes, '--history', '1h');
  const recorded = historyOf(primary);
  const second = await start('two');
  await second.follow(primary);
  await second.daemon.client('group', 'configure', 'g', '--history', '1h');
  const random = new FuzzRandom(30);
  recorded.poll();
  // Before that there were no volumes.
  const first = recorded.number;
  let load = await PastLoad.begin(random, primary, writePauseMilliseconds);
  const kept: Shown[] = [];
  let compared = 0;
  let beginnings = 0;
  for (let position = 0; position < positions; position += 1) {
    await sleep(random.below(pauseMillisecondsMax));
    recorded.poll();
    const system = random.pick(systems);
    const { history: window, watermarks } = await system.status();
    const from = Math.max(first, must(window.from, `${system.name} has a history`));
    const number = from + random.below(watermarks.durable - from + 1);
    const name = `at${position}`;
    const made = system.control
      .change('view create', { group: 'g', at: String(number), name })
      .catch((error: unknown) => error);
    if (position % positionsPerKill === positionsPerKill - 1) {
      await sleep(random.below(40));
      await system.restart();
      await made;
      if (system === primary) {
        await load.end();
        load = await PastLoad.begin(random, primary, writePauseMilliseconds);
      }
      await system.applied(0);
      // Whole, or not there.
      const { views } = await system.status();
      if (views.some((view) => view.name === name)) kept.push({ system, name, number });
      for (const shown of kept) await expectShown(recorded, shown);
      beginnings += 1;
      continue;
    }
    expect(await made).toMatchObject({ result: 'done' });
    await expectShown(recorded, { system, name, number });
    compared += 1;
    if (random.chance(12) && kept.length < 6) kept.push({ system, name, number });
    else await system.control.change('view delete', { view: `g@${name}` });
  }
  await load.end();
  for (const shown of kept) await expectShown(recorded, shown);
  expect(compared).toBe(positions - beginnings);
  expect(kept.length).toBeGreaterThan(2);
  expect(recorded.number).toBeGreaterThan(2000);
}, 600_000);
