import type { ChangeCommand } from './command.ts';
import { done } from './texts.ts';

export const command: ChangeCommand<'cut delete'> = {
  kind: 'change',
  name: 'cut delete',
  text: ({ result, unreached }, { cut }) =>
    [
      done(result, `cut ${cut} is deleted`),
      ...unreached.map(
        (system) => `system ${system} was not told; type there: jnbd cut delete ${cut}`,
      ),
    ].join('\n'),
};
