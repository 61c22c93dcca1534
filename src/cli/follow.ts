import { resolve } from 'node:path';
import type { ChangeCommand } from './command.ts';
import { done, movingNote, upstreamText } from './texts.ts';

/** What is no seed is left for whoever checks it. */
function absoluteSeed(text: string): string {
  const at = text.indexOf('=');
  const path = text.slice(at + 1);
  return at < 0 || path === '' ? text : `${text.slice(0, at)}=${resolve(path)}`;
}

export const command: ChangeCommand<'follow'> = {
  kind: 'change',
  name: 'follow',
  prepare: (input) => ({
    ...input,
    ...(input.journalDir && { journalDir: input.journalDir.map((path) => resolve(path)) }),
    ...(input.seed && { seed: input.seed.map(absoluteSeed) }),
  }),
  text: ({ result, group }) =>
    [
      done(result, `group ${group.name} follows ${upstreamText(group)}`),
      ...(group.secondaryExports === 'hidden' ? [] : [`note: ${movingNote(group.name)}`]),
      `next: jnbd wait ${group.name} --for synced`,
    ].join('\n'),
};
