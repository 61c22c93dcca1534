import type { ChangeCommand } from './command.ts';
import { done } from './texts.ts';

export const command: ChangeCommand<'suspend'> = {
  kind: 'change',
  name: 'suspend',
  text: ({ result, group }) => done(result, `group ${group.name} receives nothing`),
};
