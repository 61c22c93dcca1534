import { formatSize } from '../platform/size-text.ts';
import type { ChangeCommand } from './command.ts';
import { startCopyBar } from './copy-bar.ts';
import { takenBackText } from './texts.ts';

export const command: ChangeCommand<'volume rollback'> = {
  kind: 'change',
  name: 'volume rollback',
  startProgress: startCopyBar,
  text: ({ result, group, to, volumes, newer, lost, deleted, hosts }) => {
    const names = volumes.map((name) => `${group}/${name}`).join(', ');
    if (result === 'already_done')
      return `group ${group} is as it was at update ${to} (already done)`;
    const lines = [
      result === 'done'
        ? `${names} rolled back to update ${to}; taken back: ${takenBackText(lost)}`
        : `${names} would be rolled back to update ${to}; taken back: ${takenBackText(lost)}; at most ${formatSize(lost.bytes)} would be written`,
      ...newer.map((name) => `volume ${group}/${name} was not there then, and stays as it is`),
      ...deleted.map((name) => `volume ${group}/${name} was deleted since, and is not made again`),
      ...(result === 'would_be_done' && hosts.length > 0
        ? [`hosts would be put out: ${hosts.join(', ')}`]
        : []),
    ];
    return lines.join('\n');
  },
};
