import type { ReadCommand } from './command.ts';
import { findGroup } from './found.ts';
import { table } from './texts.ts';

const head = ['VIEW', 'UPDATE', 'STATE', 'MADE', 'VOLUMES', 'CLIENTS'];

export const command: ReadCommand<'view list'> = {
  kind: 'read',
  name: 'view list',
  read: (status, { group }) => ({ views: findGroup(status, group).views }),
  text: ({ views }) =>
    views.length === 0
      ? 'no views'
      : table(
          head,
          views.map(({ name, number, state, createdAt, volumes }) => [
            name,
            String(number),
            state,
            createdAt,
            volumes.map((volume) => volume.name).join(', '),
            volumes.flatMap(({ clients }) => clients).join(', ') || '-',
          ]),
        ),
};
