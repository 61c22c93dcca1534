import { resolve } from 'node:path';
import { formatSize } from '../platform/size-text.ts';
import type { ChangeCommand } from './command.ts';
import { done } from './texts.ts';

export const command: ChangeCommand<'group create'> = {
  kind: 'change',
  name: 'group create',
  prepare: (input) =>
    input.journalDir === undefined
      ? input
      : { ...input, journalDir: input.journalDir.map((path) => resolve(path)) },
  text: ({ result, group }) =>
    done(
      result,
      `group ${group.name}: a journal of ${formatSize(group.journal.capacityBytes)} in ` +
        group.journal.areas
          .filter(({ role }) => role === 'journal')
          .map(({ path }) => path)
          .join(', '),
    ) + `\nnext: jnbd volume create ${group.name}/VOLUME --size 10GiB`,
};
