import type { ReadCommand } from './command.ts';
import { findGroup } from './found.ts';
import { table, volumeHead, volumeLine } from './texts.ts';

export const command: ReadCommand<'volume list'> = {
  kind: 'read',
  name: 'volume list',
  read: (status, { group }) => ({
    volumes: (group === undefined ? status.groups : [findGroup(status, group)]).flatMap(
      ({ name, volumes }) => volumes.map((volume) => ({ group: name, volume })),
    ),
  }),
  text: ({ volumes }) =>
    volumes.length === 0
      ? 'no volumes; next: jnbd volume create GROUP/VOLUME --size 10GiB'
      : table(
          volumeHead,
          volumes.map(({ group, volume }) => volumeLine(group, volume)),
        ),
};
