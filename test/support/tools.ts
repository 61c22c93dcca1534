import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';

/**
 * Where the programs are that tests and benchmarks run. `scripts/install-test-tools` installs them or
 * unpacks them into its cache and writes `tools.env` there; what is in the environment goes first.
 */
const cacheDirectory = join(
  process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'),
  'jnbd-test',
);

type ToolVariable =
  | 'JNBD_TEST_KERNEL'
  | 'JNBD_TEST_KERNEL_MODULES'
  | 'JNBD_TEST_BUSYBOX'
  | 'JNBD_TEST_NBD_SERVER'
  | 'JNBD_TEST_NBD_CLIENT'
  | 'JNBD_TEST_PROMTOOL'
  | 'JNBD_TEST_LIBRARY_PATH'
  | 'JNBD_TEST_PYTHON';

let recorded: Map<string, string> | undefined;

function recordedTools(): Map<string, string> {
  if (recorded) return recorded;
  recorded = new Map();
  const path = join(cacheDirectory, 'tools.env');
  if (!existsSync(path)) return recorded;
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    const match = /^(\w+)='(.*)'$/.exec(line);
    if (match?.[1] !== undefined && match[2]) recorded.set(match[1], match[2]);
  }
  return recorded;
}

/** The path that `scripts/install-test-tools` recorded, or `undefined`. */
export function recordedTool(name: ToolVariable): string | undefined {
  return process.env[name] || recordedTools().get(name);
}

/** A cache that survives runs: what was unpacked for tests, what was compiled for benchmarks. */
export function testCache(): string {
  return cacheDirectory;
}

const systemPath = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];

/** The program in PATH or in the administrator's directories, or `undefined`. */
export function program(name: string): string | undefined {
  if (name === 'nbd-server') return recordedTool('JNBD_TEST_NBD_SERVER');
  if (name === 'nbd-client') return recordedTool('JNBD_TEST_NBD_CLIENT');
  if (name === 'promtool') return recordedTool('JNBD_TEST_PROMTOOL');
  if (name === 'busybox') return recordedTool('JNBD_TEST_BUSYBOX');
  if (name === 'python3') return recordedTool('JNBD_TEST_PYTHON');
  for (const directory of systemPath) {
    const path = join(directory, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not here; the next directory may have it.
    }
  }
  return undefined;
}

export function requireProgram(name: string): string {
  const path = program(name);
  if (path === undefined) throw new Error(`${name} is not there: run scripts/install-test-tools`);
  return path;
}

/** The names that are missing, for a suite that is skipped without them. */
export function missingPrograms(...names: string[]): string[] {
  return names.filter((name) => program(name) === undefined);
}
