import type { Result } from '../control/schema.ts';
import type { ChangeCommand } from './command.ts';
import { markerText } from './cut-texts.ts';

export const command: ChangeCommand<'cut promote'> = {
  kind: 'change',
  name: 'cut promote',
  text: ({ result, marker, groups }, { cut, targets }) => {
    const is = result === 'would_be_done' ? 'would become' : 'is';
    const again = result === 'already_done' ? ' (already done)' : '';
    return [
      `target list ${targets} of cut ${cut} ${is} primary at marker ${markerText(marker)}${again}`,
      ...groups.map(groupLine),
    ].join('\n');
  },
};

function groupLine({
  system,
  group,
  position,
  leftOut,
  obstacle,
}: Result<'cut promote'>['groups'][number]): string {
  const branch = leftOut === 0 ? '' : `, ${leftOut} updates behind it become a branch`;
  const refusal = obstacle === '' ? '' : `; it would be refused: ${obstacle}`;
  const kept = position === 0 ? '' : `: updates up to ${position} are kept${branch}`;
  return `  group ${group} on system ${system}${kept}${refusal}`;
}
