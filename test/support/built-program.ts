import { fileURLToPath } from 'node:url';
import { program } from './daemon.ts';
import { run, runChecked, type RunOptions } from './children.ts';

const buildScript = fileURLToPath(new URL('../../scripts/build', import.meta.url));

/** Compiles what changed since the last time: these tests run what a user runs. */
export async function build(): Promise<void> {
  await runChecked(buildScript, []);
}

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Standard output as JSON; an error where it is something else, or more. */
  readonly json: unknown;
}

/** Runs `jnbd ARGUMENTS`, whatever its exit code. */
export async function jnbd(
  args: readonly string[],
  options: RunOptions = {},
): Promise<CommandResult> {
  const result = await run(process.execPath, [program, ...args], options);
  return {
    ...result,
    get json() {
      return JSON.parse(result.stdout) as unknown;
    },
  };
}
