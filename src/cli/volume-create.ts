import { resolve } from 'node:path';
import { formatSize } from '../platform/size-text.ts';
import type { ChangeCommand } from './command.ts';
import { startCopyBar } from './copy-bar.ts';
import { done } from './texts.ts';

export const command: ChangeCommand<'volume create'> = {
  kind: 'change',
  name: 'volume create',
  prepare: (input) =>
    input.from === undefined || /^[a-z][a-z0-9+]*:\/\//i.test(input.from)
      ? input
      : { ...input, from: resolve(input.from) },
  startProgress: startCopyBar,
  text: ({ result, group, volume }) =>
    [
      done(
        result,
        `volume ${group}/${volume.name}: ${formatSize(volume.sizeBytes)}${volume.journalOnly ? ', journal-only' : ''}`,
      ),
      ...volume.uris.map((uri) => `  ${uri}`),
    ].join('\n'),
};
