import { resolve } from 'node:path';
import type { ChangeCommand } from './command.ts';

export const command: ChangeCommand<'branch export'> = {
  kind: 'change',
  name: 'branch export',
  prepare: (input) => ({ ...input, to: resolve(input.to) }),
  text: ({ branch, directory }) =>
    `branch ${branch.name}, updates ${branch.first} to ${branch.newest}, is in ${directory}\nnext: jnbd journal inspect ${directory} --records --from ${branch.first}`,
};
