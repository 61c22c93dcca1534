import type { ChangeCommand } from './command.ts';
import { markerText } from './cut-texts.ts';

export const command: ChangeCommand<'cut mark'> = {
  kind: 'change',
  name: 'cut mark',
  text: ({ marker }, { cut }) => `cut ${cut}: marker ${markerText(marker)}, is committed`,
};
