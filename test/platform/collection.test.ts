import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const MiB = 1024 * 1024;

/** Lets much survive for a while, in a process of its own, and returns how large its young generation is then. */
function youngBytes(setUp: string): number {
  const source = (path: string): string => new URL(path, import.meta.url).href;
  const script = `
    import { getHeapSpaceStatistics } from 'node:v8';
    import { keepYoungGenerationSmall } from '${source('../../src/platform/collection.ts')}';
    import { spawnNodeWorker } from '${source('../../src/platform/node-worker.ts')}';
    const echo = new URL('${source('./echo-worker.ts')}');
    ${setUp}
    let kept = [];
    for (let i = 0; i < 2e6; i += 1) {
      kept.push({ i });
      if (kept.length > 100_000) kept = [];
    }
    const space = getHeapSpaceStatistics().find((one) => one.space_name === 'new_space');
    process.stdout.write(String(space.space_size), () => process.exit());
  `;
  const tsx = fileURLToPath(import.meta.resolve('tsx'));
  const args = ['--import', `file://${tsx}`, '--input-type=module', '--eval', script];
  return Number(execFileSync(process.execPath, args, { encoding: 'utf8', timeout: 60_000 }));
}

/** V8 sets its own rule again in each new thread. */
const startThread = `
  const worker = spawnNodeWorker(echo, 'echo', (error) => { throw error; });
  await new Promise((answered) => {
    worker.receive(answered);
    worker.post({ text: 'here' });
  });
`;

test('the young generation stays small, also once a thread was started', () => {
  const grown = youngBytes('');
  expect(grown).toBeGreaterThanOrEqual(16 * MiB);
  const small = youngBytes(`keepYoungGenerationSmall(); ${startThread}`);
  expect(small).toBeLessThanOrEqual(8 * MiB);
});
