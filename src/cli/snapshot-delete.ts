import type { ChangeCommand } from './command.ts';
import { done } from './texts.ts';

export const command: ChangeCommand<'snapshot delete'> = {
  kind: 'change',
  name: 'snapshot delete',
  text: ({ result }, { snapshot }) => done(result, `${snapshot.group}@${snapshot.name} is deleted`),
};
