import { formatSize } from '../platform/size-text.ts';
import type { ChangeCommand } from './command.ts';

export const command: ChangeCommand<'promote'> = {
  kind: 'change',
  name: 'promote',
  text: ({ result, group, position, lost, rollsBack, obstacle }) => {
    const loss =
      lost.updates === 0
        ? 'nothing is known to be lost'
        : `lost: ${lost.updates} updates, ${formatSize(lost.bytes)}, ${lost.seconds.toFixed(1)}s`;
    if (result === 'already_done') return `group ${group.name} is primary here (already done)`;
    const back = rollsBack ? ' (the last instant before the resync that is under way)' : '';
    const kept = `updates up to ${position} are kept${back}, ${loss}`;
    if (result === 'done') {
      return `group ${group.name} is primary here, generation ${group.generation}: ${kept}`;
    }
    const refusal = obstacle === null ? '' : `\nit would be refused: ${obstacle}`;
    return `group ${group.name} would become primary here: ${kept}${refusal}`;
  },
};
