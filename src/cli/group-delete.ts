import type { ChangeCommand } from './command.ts';
import { done } from './texts.ts';

export const command: ChangeCommand<'group delete'> = {
  kind: 'change',
  name: 'group delete',
  text: ({ result }, { group }) => done(result, `group ${group} is deleted`),
};
