import type { ChangeCommand } from './command.ts';
import { done } from './texts.ts';

export const command: ChangeCommand<'resume'> = {
  kind: 'change',
  name: 'resume',
  text: ({ result, group }) => done(result, `group ${group.name} receives again`),
};
