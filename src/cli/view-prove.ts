import type { ChangeCommand } from './command.ts';

export const command: ChangeCommand<'view prove'> = {
  kind: 'change',
  name: 'view prove',
  text: ({ proven }, { view }) =>
    `group ${view.group}: a check of update ${proven.number} ${proven.result}, at ${proven.at}`,
};
