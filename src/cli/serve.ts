import { commandText } from '../control/client-command.ts';
import type { Input, Parameters, Result } from '../control/schema.ts';
import { verbs } from '../control/schema.ts';
import type { LocalCommand } from './command.ts';
import { readServeConfiguration } from './serve-configuration.ts';

export const command: LocalCommand<'serve'> = {
  kind: 'local',
  name: 'serve',
  async run(input, context, print) {
    const { listening, stopped } = await context.startDaemon(settingsOf(input));
    print(listening, text(listening));
    await stopped;
  },
};

/** The command line goes before the configuration file, and that before the environment. */
function settingsOf(input: Input<'serve'>): Parameters<'serve'> {
  const fromFile = input.config === undefined ? {} : readServeConfiguration(input.config);
  const fromEnvironment = process.env['JNBD_DATA'] || undefined;
  return verbs.serve.parameters.parse({
    ...(fromEnvironment === undefined ? {} : { data: fromEnvironment }),
    ...fromFile,
    ...input,
  });
}

function text({ name, dataDirectory, nbd, listen, processId, groups }: Result<'serve'>): string {
  const next = groups.length === 0 ? ['group', 'create', 'GROUP'] : ['status'];
  return [
    `system ${name} serves ${dataDirectory} (process ${processId})`,
    ...nbd.map((address) => `  NBD     ${address}`),
    `  status  http://${listen}/status  /metrics  /healthz  /readyz`,
    `next: ${commandText('jnbd', ...next, '--data', dataDirectory)}; Ctrl-C stops`,
  ].join('\n');
}
