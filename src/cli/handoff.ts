import type { ChangeCommand } from './command.ts';

export const command: ChangeCommand<'handoff'> = {
  kind: 'change',
  name: 'handoff',
  text: ({ position, group }, { to }) =>
    `group ${group.name} is handed over to ${to} behind update ${position}\nnext: jnbd wait ${group.name} --for synced`,
};
