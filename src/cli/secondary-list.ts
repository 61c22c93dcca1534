import type { ReadCommand } from './command.ts';
import { findGroup } from './found.ts';
import { secondaryHead, secondaryLine, table } from './texts.ts';

export const command: ReadCommand<'secondary list'> = {
  kind: 'read',
  name: 'secondary list',
  read: (status, parameters) => {
    const { secondaries, allowedSecondaries } = findGroup(status, parameters.group);
    return { secondaries, allowed: allowedSecondaries };
  },
  text: ({ secondaries, allowed }) =>
    [
      secondaries.length === 0
        ? 'no system follows this group'
        : table(secondaryHead, secondaries.map(secondaryLine)),
      `allowed from other machines: ${allowed.join(', ') || 'none'}`,
    ].join('\n\n'),
};
