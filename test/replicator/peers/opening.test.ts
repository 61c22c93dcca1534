import { expect, test } from 'vitest';
import { JnbdError } from '../../../src/platform/errors.ts';
import { MiB } from '../../../src/platform/limits.ts';
import { Fleet } from '../fleet.ts';

test('whose group begins its journal anew is no source that has it not', async () => {
  const fleet = new Fleet('opening');
  const [source, follower] = [await fleet.start('alpha'), await fleet.start('beta')];
  await source.verb('group create', { group: 'g', journalSize: 64 * MiB });
  await source.verb('volume create', { volume: 'g/v', size: MiB });
  await follower.verb('follow', { group: 'g', from: source.url });
  await follower.caughtUp(source);
  const group = source.group();
  const { catalog, watermarks } = group;
  await source.until(() => watermarks.applied === watermarks.newest);

  const number = watermarks.newest;
  let isOpen = false;
  const opened = source.system
    .restartGroup(group, { number, catalog, follow: null, made: [] })
    .then(() => {
      isOpen = true;
    });
  const told = new Set<string>();
  await source.until(() => {
    const { state, failure } = follower.status().upstream ?? {};
    if (failure) told.add(`${state}: ${failure}`);
    if (source.system.groups.has('g')) return isOpen;
    for (const find of [() => source.group(), () => source.system.findById(catalog.groupId)]) {
      try {
        find();
        told.add('it was found');
      } catch (error) {
        told.add(error instanceof JnbdError ? error.code : String(error));
      }
    }
    return isOpen;
  });
  await opened;
  await follower.until(() => follower.status().upstream?.state === 'reading');
  expect([...told].join('\n')).toContain('group_opening');
  expect([...told].join('\n')).not.toMatch(/refused|not_found|does not exist|there is no group/);
  await source.verb('volume create', { volume: 'g/w', size: MiB });
  await follower.caughtUp(source);
});
