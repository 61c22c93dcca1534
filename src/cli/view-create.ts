import type { ChangeCommand } from './command.ts';
import { done } from './texts.ts';

export const command: ChangeCommand<'view create'> = {
  kind: 'change',
  name: 'view create',
  text: ({ result, group, view }) =>
    [
      done(result, `view ${group}@${view.name} shows update ${view.number}`),
      ...view.volumes.flatMap(({ uris }) => uris.map((uri) => `  ${uri}`)),
      ...view.missing.map(
        (name) =>
          `  volume ${name} is not in it: it was deleted since, or was being rolled back then`,
      ),
    ].join('\n'),
};
