import type { ChangeCommand } from './command.ts';
import { done } from './texts.ts';

export const command: ChangeCommand<'secondary remove'> = {
  kind: 'change',
  name: 'secondary remove',
  text: ({ result, group }, { secondary }) =>
    done(result, `group ${group.name} keeps nothing for system ${secondary}`),
};
