import type { ChangeCommand } from './command.ts';
import { cutLines } from './cut-texts.ts';
import { done } from './texts.ts';

export const command: ChangeCommand<'cut create'> = {
  kind: 'change',
  name: 'cut create',
  text: ({ result, cut }) =>
    [
      done(result, `cut ${cut.name} has ${cut.members.length} members`),
      cutLines(cut),
      `next: jnbd cut status ${cut.name}`,
    ].join('\n'),
};
