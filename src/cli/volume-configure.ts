import type { ChangeCommand } from './command.ts';
import { done } from './texts.ts';

export const command: ChangeCommand<'volume configure'> = {
  kind: 'change',
  name: 'volume configure',
  text: ({ result, group, volume }) =>
    done(
      result,
      `volume ${group}/${volume.name}: max hosts ${volume.maxHosts === 0 ? 'no limit' : volume.maxHosts}`,
    ),
};
