import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const MiB = 1024 * 1024;

/** In a process of its own: it is a setting of all threads. */
function youngBytes(how: 'as-it-is' | 'small'): number {
  const probe = fileURLToPath(new URL('young-generation-probe.ts', import.meta.url));
  const args = ['--import', import.meta.resolve('tsx'), probe, how];
  return Number(execFileSync(process.execPath, args, { encoding: 'utf8', timeout: 60_000 }));
}

test('the young generation stays small, also once a thread was started', () => {
  expect(youngBytes('as-it-is')).toBeGreaterThan(8 * MiB);
  expect(youngBytes('small')).toBeLessThanOrEqual(6 * MiB);
});
