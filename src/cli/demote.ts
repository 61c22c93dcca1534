import type { ChangeCommand } from './command.ts';
import { done } from './texts.ts';

export const command: ChangeCommand<'demote'> = {
  kind: 'change',
  name: 'demote',
  text: ({ result, group }) =>
    `${done(result, `group ${group.name} is secondary here and follows ${group.upstream?.url ?? 'nobody'}`)}\nnext: jnbd follow ${group.name} --from URL`,
};
