import { ControlClient } from '../control/client.ts';
import { JnbdError } from '../platform/errors.ts';
import { readVersion } from '../platform/version.ts';
import type { CommandContext, LocalCommand } from './command.ts';

export const command: LocalCommand<'version'> = {
  kind: 'local',
  name: 'version',
  async run(_input, context, print) {
    const program = readVersion();
    const daemon = await daemonVersion(context);
    print({ program, daemon }, `program ${program}\ndaemon  ${daemon ?? 'not reachable'}`);
  },
};

async function daemonVersion({ location }: CommandContext): Promise<string | null> {
  try {
    return (await new ControlClient(location).status()).system.version;
  } catch (error) {
    if (error instanceof JnbdError && error.kind === 'unreachable') return null;
    throw error;
  }
}
