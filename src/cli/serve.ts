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

function text({ name, dataDirectory, nbd, listen, processId }: Result<'serve'>): string {
  return [
    `system ${name} serves ${dataDirectory} (process ${processId})`,
    ...nbd.map((address) => `  NBD     ${address}`),
    `  status  http://${listen}/status  /metrics  /healthz  /readyz`,
    `next: jnbd group create GROUP --data ${dataDirectory}; Ctrl-C stops`,
  ].join('\n');
}
