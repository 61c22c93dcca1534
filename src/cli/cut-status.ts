import type { ChangeCommand } from './command.ts';
import { cutLines } from './cut-texts.ts';

export const command: ChangeCommand<'cut status'> = {
  kind: 'change',
  name: 'cut status',
  text: ({ cuts }) =>
    cuts.length === 0
      ? 'no cuts; next: jnbd cut create CUT --member URL/GROUP --member URL/GROUP'
      : cuts.map(cutLines).join('\n\n'),
};
