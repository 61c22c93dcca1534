import { resolve } from 'node:path';
import type { ChangeCommand } from './command.ts';
import { done, movingNote, upstreamText } from './texts.ts';

export const command: ChangeCommand<'follow'> = {
  kind: 'change',
  name: 'follow',
  prepare: (input) =>
    input.journalDir === undefined
      ? input
      : { ...input, journalDir: input.journalDir.map((path) => resolve(path)) },
  text: ({ result, group }) =>
    [
      done(result, `group ${group.name} follows ${upstreamText(group)}`),
      ...(group.secondaryExports === 'hidden' ? [] : [`note: ${movingNote(group.name)}`]),
      `next: jnbd wait ${group.name} --for synced`,
    ].join('\n'),
};
