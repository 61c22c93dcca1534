import { formatSize } from '../platform/size-text.ts';
import type { ReadCommand } from './command.ts';
import { findGroup, findVolume } from './found.ts';
import { movingNote, properties, stateText } from './texts.ts';

export const command: ReadCommand<'volume show'> = {
  kind: 'read',
  name: 'volume show',
  read: (status, { volume: path }) => ({
    group: path.group,
    volume: findVolume(findGroup(status, path.group), path.volume),
  }),
  text: ({ group, volume }) =>
    properties([
      ['volume', `${group}/${volume.name}`],
      ['state', `${stateText(volume.state)}${volume.failure === '' ? '' : ` (${volume.failure})`}`],
      ['size', `${formatSize(volume.sizeBytes)} (${volume.sizeBytes} bytes)`],
      ['allocated', formatSize(volume.allocatedBytes)],
      ...(volume.removedAt === null
        ? []
        : [['removed', `its file goes at ${volume.removedAt}`] as [string, string]]),
      ['backing file', volume.backingFile ?? 'none: journal-only'],
      ['max hosts', volume.maxHosts === 0 ? 'no limit' : String(volume.maxHosts)],
      ...volume.uris.map((uri): [string, string] => ['uri', uri]),
      ...(volume.state === 'secondary' && volume.uris.length > 0
        ? [['note', movingNote(group)] as [string, string]]
        : []),
      ...volume.clients.map(({ address, tls, connectedSince }): [string, string] => [
        'client',
        `${address}${tls ? ', TLS' : ''}, since ${connectedSince}`,
      ]),
    ]),
};
