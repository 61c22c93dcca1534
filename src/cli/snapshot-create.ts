import type { ChangeCommand } from './command.ts';
import { done } from './texts.ts';

export const command: ChangeCommand<'snapshot create'> = {
  kind: 'change',
  name: 'snapshot create',
  text: ({ result, group, snapshot }) =>
    [
      done(result, `snapshot ${group}@${snapshot.name} at update ${snapshot.number}`),
      ...snapshot.volumes.flatMap(({ uris }) => uris.map((uri) => `  ${uri}`)),
    ].join('\n'),
};
