import type { ChangeCommand } from './command.ts';
import { done } from './texts.ts';

export const command: ChangeCommand<'unfollow'> = {
  kind: 'change',
  name: 'unfollow',
  text: ({ result, group }) =>
    `${done(result, `group ${group.name} follows nobody`)}\nnext: jnbd promote ${group.name}, or jnbd follow ${group.name} --from URL`,
};
