import type { ReadCommand } from './command.ts';
import { groupHead, groupLine, table } from './texts.ts';

export const command: ReadCommand<'group list'> = {
  kind: 'read',
  name: 'group list',
  read: ({ groups }) => ({ groups }),
  text: ({ groups }) =>
    groups.length === 0
      ? 'no groups; next: jnbd group create GROUP'
      : table(groupHead, groups.map(groupLine)),
};
