import { formatSize } from '../platform/size-text.ts';
import type { ReadCommand } from './command.ts';
import { findGroup } from './found.ts';
import { table } from './texts.ts';

const head = ['SNAPSHOT', 'UPDATE', 'MADE', 'KEEPS', 'VOLUMES'];

export const command: ReadCommand<'snapshot list'> = {
  kind: 'read',
  name: 'snapshot list',
  read: (status, { group }) => ({ snapshots: findGroup(status, group).snapshots }),
  text: ({ snapshots }) =>
    snapshots.length === 0
      ? 'no snapshots'
      : table(
          head,
          snapshots.map(({ name, number, createdAt, state, preservedBytes, volumes }) => [
            state === 'deleted' ? `${name} (deleted; needed by older ones)` : name,
            String(number),
            createdAt,
            formatSize(preservedBytes),
            volumes.map((volume) => volume.name).join(', '),
          ]),
        ),
};
