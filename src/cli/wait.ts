import { ControlClient } from '../control/client.ts';
import { verbs } from '../control/schema.ts';
import type { GroupStatus } from '../control/schema-status.ts';
import { JnbdError } from '../platform/errors.ts';
import type { LocalCommand } from './command.ts';
import { findGroup } from './found.ts';

const pollMilliseconds = 100;
const timeoutMillisecondsDefault = 60_000;

export const command: LocalCommand<'wait'> = {
  kind: 'local',
  name: 'wait',
  async run(input, context, print) {
    const { group: name, for: what, timeout } = verbs.wait.parameters.parse(input);
    const client = new ControlClient(context.location);
    const end = Date.now() + (timeout ?? timeoutMillisecondsDefault);
    for (;;) {
      const group = findGroup(await client.status(), name);
      if (isReached(group, what)) {
        print({ result: 'reached', group }, `group ${name} is ${what}`);
        return;
      }
      if (Date.now() >= end) {
        throw new JnbdError('timed_out', `group ${name} is not ${what}: ${presentText(group)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, pollMilliseconds));
    }
  },
};

function isReached(group: GroupStatus, what: string): boolean {
  const { role, state, upstream, pairs, watermarks } = group;
  if (what === 'primary') return role === 'primary' && state === 'normal';
  if (what.startsWith('applied='))
    return watermarks.applied >= Number(what.slice('applied='.length));
  const isCopied = pairs.every((pair) => pair.state === 'normal');
  const isReading = upstream === null || upstream.state === 'reading';
  const lag = upstream?.lag;
  const isLevel = lag === undefined || (lag.received.updates === 0 && lag.applied.updates === 0);
  return isCopied && isReading && isLevel && watermarks.applied === watermarks.newest;
}

function presentText({ role, state, upstream, watermarks }: GroupStatus): string {
  const source = upstream
    ? `, ${upstream.state} ${upstream.url} ${upstream.failure}`.trimEnd()
    : '';
  return `it is ${role}, ${state}${source}; applied ${watermarks.applied}, newest ${watermarks.newest}`;
}
