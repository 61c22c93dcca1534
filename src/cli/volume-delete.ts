import type { ChangeCommand } from './command.ts';
import { done } from './texts.ts';

export const command: ChangeCommand<'volume delete'> = {
  kind: 'change',
  name: 'volume delete',
  text: ({ result }, { volume }) =>
    done(result, `volume ${volume.group}/${volume.volume} is deleted`),
};
