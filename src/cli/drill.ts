import { ControlClient } from '../control/client.ts';
import { type Result, verbs } from '../control/schema.ts';
import { JnbdError } from '../platform/errors.ts';
import type { LocalCommand } from './command.ts';
import { type CheckEnd, fileSystemCheck, runCheck } from './drill-check.ts';

const timeoutMillisecondsDefault = 10 * 60_000;

export const command: LocalCommand<'drill'> = {
  kind: 'local',
  name: 'drill',
  async run(input, context, print) {
    const { group, check, timeout, writable } = verbs.drill.parameters.parse(input);
    const shell = check ?? fileSystemCheck();
    const client = new ControlClient(context.location);
    const name = `drill-${process.pid}-${Date.now()}`;
    const { view } = await client.change('view create', { group, at: 'latest', name, writable });
    const path = `${group}@${name}`;
    const startedAt = Date.now();
    let end: CheckEnd;
    try {
      const limit = timeout ?? timeoutMillisecondsDefault;
      end = await runCheck(shell, environmentOf(group, view), limit);
      const result = end.kind === 'passed' ? 'passed' : 'failed';
      if (end.kind !== 'unchecked') await client.change('view prove', { view: path, result });
    } finally {
      await client.change('view delete', { view: path, force: true });
    }
    const seconds = (Date.now() - startedAt) / 1000;
    const { number } = view;
    if (end.kind !== 'passed') throw failureOf(end, group, number);
    print(
      { result: 'passed', group, number, seconds },
      `group ${group} could be recovered at update ${number}: the check passed in ${seconds.toFixed(1)}s`,
    );
  },
};

function environmentOf(
  group: string,
  { number, volumes }: Result<'view create'>['view'],
): Record<string, string> {
  const uris = volumes.map(({ name, uris: [uri = ''] }): [string, string] => [
    `JNBD_URI_${name.replace(/[^A-Za-z0-9]/g, '_')}`,
    uri,
  ]);
  return {
    JNBD_GROUP: group,
    JNBD_NUMBER: String(number),
    JNBD_VOLUMES: volumes.map(({ name }) => name).join(' '),
    ...Object.fromEntries(uris),
  };
}

function failureOf(end: CheckEnd, group: string, number: number): JnbdError {
  const what = `the check of group ${group} at update ${number}`;
  if (end.kind === 'timed_out')
    return new JnbdError('timed_out', `${what} took too long and was ended`);
  if (end.kind === 'unchecked') {
    const text = `group ${group} was not checked, and nothing is noted; say how: --check COMMAND`;
    return new JnbdError('argument_invalid', text);
  }
  return new JnbdError('check_failed', `${what} failed: ${end.text}`);
}
