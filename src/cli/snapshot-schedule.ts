import type { ChangeCommand } from './command.ts';
import { done } from './texts.ts';

export const command: ChangeCommand<'snapshot schedule'> = {
  kind: 'change',
  name: 'snapshot schedule',
  text: ({ result, group, schedule }) => done(result, `snapshots of group ${group}: ${schedule}`),
};
