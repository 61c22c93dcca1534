import type { ChangeCommand } from './command.ts';
import { done } from './texts.ts';

export const command: ChangeCommand<'secondary allow'> = {
  kind: 'change',
  name: 'secondary allow',
  text: ({ result, group }, { secondary }) =>
    done(result, `system ${secondary} may follow group ${group.name}`),
};
