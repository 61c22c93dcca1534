import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach } from 'vitest';
import type { GroupStatus, Status } from '../../src/control/schema-status.ts';
import { must } from '../../src/platform/assert.ts';
import { build } from './built-program.ts';
import { Daemon } from './daemon.ts';
import { temporaryDirectory, type TemporaryDirectory } from './temporary.ts';

/** Starts a system named so; the same name again is the same system. */
export type StartSystem = (name: string, ...args: string[]) => Promise<Daemon>;

/** Systems of the built program, new ones for each test of the file; none outlives its test. */
export function systemsOf(
  topic: string,
  argumentsOf: (name: string) => string[] = (name) => ['--name', name],
): StartSystem {
  let directory: TemporaryDirectory;
  const daemons: Daemon[] = [];
  beforeAll(() => build(), 120_000);
  beforeEach(() => {
    directory = temporaryDirectory(topic);
  });
  afterEach(async () => {
    for (const daemon of daemons.splice(0)) await daemon.kill();
    directory.remove();
  });
  return async (name, ...args) => {
    const dataDirectory = join(directory.path, name);
    const started = [...argumentsOf(name), ...args];
    const daemon = await Daemon.start({ dataDirectory, arguments: started });
    daemons.push(daemon);
    return daemon;
  };
}

/** Of the only group of this system. */
export async function groupOf(daemon: Daemon): Promise<GroupStatus> {
  return must(((await daemon.client('status')) as Status).groups[0], 'there is a group');
}
