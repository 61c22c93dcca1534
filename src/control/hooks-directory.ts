import { readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { JnbdError, messageOf } from '../platform/errors.ts';
import { commandText } from './client-command.ts';
import { hookEvents, hookTimeoutMillisecondsDefault, type HooksOptions } from './hooks.ts';

export type HookSettings = Pick<HooksOptions, 'directory' | 'timeoutMilliseconds'>;

const timeoutMillisecondsMin = 100;
const timeoutMillisecondsMax = 3_600_000;
const anyExecute = 0o111;

/**
 * Checks what was given as `--hooks` and `--hook-timeout`. Throws JnbdError configuration_invalid.
 * `warn` is told of files that look like hooks and would never run.
 */
export function readHookSettings(
  given: { readonly hooks?: string | undefined; readonly hookTimeout?: number | undefined },
  warn: (code: string, message: string, fields: Record<string, unknown>) => void,
): HookSettings | undefined {
  const { hooks, hookTimeout: timeoutMilliseconds = hookTimeoutMillisecondsDefault } = given;
  const refuse = (message: string, cause?: unknown): never => {
    throw new JnbdError('configuration_invalid', message, { cause });
  };
  if (hooks === undefined) {
    if (given.hookTimeout === undefined) return undefined;
    return refuse('--hook-timeout does nothing without --hooks DIR');
  }
  if (
    timeoutMilliseconds < timeoutMillisecondsMin ||
    timeoutMilliseconds > timeoutMillisecondsMax
  ) {
    return refuse(`--hook-timeout ${timeoutMilliseconds}ms is not valid; from 100ms to 1h`);
  }
  const directory = resolve(hooks);
  let names: string[] = [];
  try {
    names = readdirSync(directory);
  } catch (error) {
    return refuse(`--hooks ${hooks} cannot be read: ${messageOf(error)}`, error);
  }
  for (const name of names) warnOf(directory, name, warn);
  return { directory, timeoutMilliseconds };
}

function warnOf(
  directory: string,
  name: string,
  warn: Parameters<typeof readHookSettings>[1],
): void {
  const path = join(directory, name);
  const isExecutable = isExecutableFile(path);
  const isHook = (hookEvents as readonly string[]).includes(name);
  if (isHook && !isExecutable) {
    warn('hook_not_executable', `${path} is not executable, so that event will fail`, {
      nextCommand: commandText('chmod', '+x', path),
    });
  }
  if (!isHook && isExecutable) {
    warn('hook_unknown', `${path} never runs: hooks are named ${hookEvents.join(', ')}`, {
      nextCommand: commandText('ls', '-l', directory),
    });
  }
}

function isExecutableFile(path: string): boolean {
  try {
    const found = statSync(path);
    return found.isFile() && (found.mode & anyExecute) !== 0;
  } catch {
    return false;
  }
}
