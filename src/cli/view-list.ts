import type { ReadCommand } from './command.ts';
import { findGroup } from './found.ts';
import { formatSize } from '../platform/size-text.ts';
import { table } from './texts.ts';

const head = ['VIEW', 'UPDATE', 'STATE', 'MADE', 'KEEPS', 'VOLUMES', 'CLIENTS'];

export const command: ReadCommand<'view list'> = {
  kind: 'read',
  name: 'view list',
  read: (status, { group }) => ({ views: findGroup(status, group).views }),
  text: ({ views }) =>
    views.length === 0
      ? 'no views'
      : table(
          head,
          views.map(({ name, number, state, writable, createdAt, allocatedBytes, volumes }) => [
            name,
            String(number),
            writable ? `${state}, writable` : state,
            createdAt,
            writable ? formatSize(allocatedBytes) : '-',
            volumes.map((volume) => volume.name).join(', '),
            volumes.flatMap(({ clients }) => clients).join(', ') || '-',
          ]),
        ),
};
