import type { ChangeCommand } from './command.ts';
import { markerText } from './cut-texts.ts';

export const command: ChangeCommand<'cut mark'> = {
  kind: 'change',
  name: 'cut mark',
  text: ({ marker, snapshot }, { cut }) => {
    const behind = snapshot === null ? '' : `, and every member has snapshot ${snapshot} behind it`;
    return `cut ${cut}: marker ${markerText(marker)}, is committed${behind}`;
  },
};
