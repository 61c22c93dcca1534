import { formatSize } from '../platform/size-text.ts';
import type { ReadCommand } from './command.ts';
import { findGroup } from './found.ts';
import { table } from './texts.ts';

const head = ['BRANCH', 'FIRST', 'LAST', 'SIZE', 'SAVED'];

export const command: ReadCommand<'branch list'> = {
  kind: 'read',
  name: 'branch list',
  read: (status, { group }) => ({ branches: findGroup(status, group).branches }),
  text: ({ branches }) =>
    branches.length === 0
      ? 'no branches'
      : table(
          head,
          branches.map(({ name, first, newest, bytes, savedAt }) => [
            name,
            String(first),
            String(newest),
            formatSize(bytes),
            savedAt,
          ]),
        ),
};
