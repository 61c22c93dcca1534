import { formatSize } from '../platform/size-text.ts';
import type { ChangeCommand } from './command.ts';
import { done } from './texts.ts';

export const command: ChangeCommand<'volume resize'> = {
  kind: 'change',
  name: 'volume resize',
  text: ({ result, group, volume }) =>
    [
      done(result, `volume ${group}/${volume.name}: ${formatSize(volume.sizeBytes)}`),
      ...(volume.clients.length > 0
        ? [
            `NBD clients see the new size when they connect again; connected now: ${volume.clients.map(({ address }) => address).join(', ')}`,
          ]
        : ['NBD clients see the new size when they connect again']),
    ].join('\n'),
};
