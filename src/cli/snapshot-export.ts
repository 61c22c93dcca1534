import type { ChangeCommand } from './command.ts';
import { done } from './texts.ts';

export const command: ChangeCommand<'snapshot export'> = {
  kind: 'change',
  name: 'snapshot export',
  text: ({ result, group, snapshot, clone }) => {
    const name = `snapshot ${group}@${snapshot.name}`;
    const volumes = (clone ?? snapshot).volumes;
    return [
      clone
        ? done(result, `writable clone ${group}@${clone.name} of ${name}`)
        : `${name} is exported, read-only`,
      ...volumes.flatMap(({ uris }) => uris.map((uri) => `  ${uri}`)),
    ].join('\n');
  },
};
