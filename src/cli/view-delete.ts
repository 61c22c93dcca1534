import type { ChangeCommand } from './command.ts';
import { done } from './texts.ts';

export const command: ChangeCommand<'view delete'> = {
  kind: 'change',
  name: 'view delete',
  text: ({ result }, { view }) => done(result, `view ${view.group}@${view.name} is deleted`),
};
