import type { ChangeCommand } from './command.ts';
import { done } from './texts.ts';

export const command: ChangeCommand<'secondary add'> = {
  kind: 'change',
  name: 'secondary add',
  text: ({ result, group }, { secondary }) =>
    [
      done(result, `system ${secondary} follows group ${group.name}`),
      `next: jnbd secondary list ${group.name}`,
    ].join('\n'),
};
