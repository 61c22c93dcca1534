import { formatSize } from '../platform/size-text.ts';
import type { Result } from '../control/schema.ts';
import type { ChangeCommand } from './command.ts';
import { takenBackText } from './texts.ts';

export const command: ChangeCommand<'promote'> = {
  kind: 'change',
  name: 'promote',
  text: ({
    result,
    group,
    position,
    lost,
    loss: known,
    rollsBack,
    branch,
    rollback,
    others,
    obstacle,
  }) => {
    const isSynchronous = known !== null && group.synchronous.state !== 'none';
    const nothing = isSynchronous ? known.text : 'nothing is known to be lost';
    const loss =
      lost.updates === 0
        ? nothing
        : `lost: ${lost.updates} updates, ${formatSize(lost.bytes)}, ${lost.seconds.toFixed(1)}s`;
    if (result === 'already_done') return `group ${group.name} is primary here (already done)`;
    const back = rollsBack ? ' (the last instant before the resync that is under way)' : '';
    const cut = branch
      ? `; updates ${branch.first} to ${branch.newest} ${result === 'done' ? 'became' : 'become'} a branch of ${formatSize(branch.bytes)}`
      : '';
    const isDone = result === 'done';
    const taken = rollback
      ? `; volumes ${isDone ? 'are being' : 'would be'} rolled back to update ${rollback.to} before hosts are let in (taken back: ${takenBackText(rollback.lost)})${isDone ? `; next: jnbd wait ${group.name} --for primary` : ''}`
      : '';
    const newest = rollback ? group.watermarks.newest : position;
    const kept = `updates up to ${newest} are kept${back}, ${loss}${cut}${taken}`;
    if (result === 'done') {
      return `group ${group.name} is primary here, generation ${group.generation}: ${kept}`;
    }
    const refusal = obstacle === null ? '' : `\nit would be refused: ${obstacle}`;
    const ahead = others.flatMap((other) => otherLines(group.name, other)).join('');
    return `group ${group.name} would become primary here: ${kept}${ahead}${refusal}`;
  },
};

/** Only of those that are a reason to think again. */
function otherLines(
  group: string,
  {
    name,
    url,
    newest,
    aheadUpdates,
    newerGeneration,
    isHeard,
  }: Result<'promote'>['others'][number],
): string[] {
  const where = url === null ? '' : ` at ${url}`;
  if (newerGeneration !== null) {
    return [
      `\nsystem ${name}${where} has generation ${newerGeneration}: another system was promoted already`,
    ];
  }
  if (aheadUpdates === 0) return [];
  const told = isHeard ? '' : ', as was told last: it does not answer';
  return [
    `\nsystem ${name}${where} has ${aheadUpdates} updates more, up to ${newest}${told}; to keep them type there: jnbd promote ${group}`,
  ];
}
