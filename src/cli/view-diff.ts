import { formatSize } from '../platform/size-text.ts';
import type { ChangeCommand } from './command.ts';
import { table } from './texts.ts';

export const command: ChangeCommand<'view diff'> = {
  kind: 'change',
  name: 'view diff',
  text: ({ group, from, to, volumes }) => {
    const changed = volumes.filter(({ changedBytes }) => changedBytes > 0);
    if (from === to) return `group ${group} is the same: both are update ${to}`;
    if (changed.length === 0) return `updates ${from + 1} to ${to} of group ${group} wrote nothing`;
    const sums = changed.map(({ name, changedBytes }) => `${name} ${formatSize(changedBytes)}`);
    return [
      `updates ${from + 1} to ${to} of group ${group} wrote: ${sums.join(', ')}`,
      table(
        ['VOLUME', 'OFFSET', 'LENGTH'],
        changed.flatMap(({ name, extents }) =>
          extents.map(({ offset, length }) => [name, String(offset), String(length)]),
        ),
      ),
    ].join('\n');
  },
};
