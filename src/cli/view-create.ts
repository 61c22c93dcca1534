import type { ChangeCommand } from './command.ts';
import { done } from './texts.ts';

export const command: ChangeCommand<'view create'> = {
  kind: 'change',
  name: 'view create',
  text: ({ result, group, view }) =>
    [
      done(result, `view ${group}@${view.name} shows update ${view.number}`),
      ...view.volumes.flatMap(({ uris }) => uris.map((uri) => `  ${uri}`)),
      ...view.missing.map((name) => `  volume ${name} was deleted since, and is not in it`),
    ].join('\n'),
};
