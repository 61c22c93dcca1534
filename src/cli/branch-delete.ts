import type { ChangeCommand } from './command.ts';
import { done } from './texts.ts';

export const command: ChangeCommand<'branch delete'> = {
  kind: 'change',
  name: 'branch delete',
  text: ({ result }, { group, branch }) =>
    done(result, `branch ${branch} of group ${group} is deleted`),
};
