/**
 * Lets much survive for a while and prints the bytes of the young generation then.
 *
 * usage: young-generation-probe.ts as-it-is|small    (small: as `serve` has it, a thread was started since)
 */
import { getHeapSpaceStatistics } from 'node:v8';
import { keepYoungGenerationSmall } from '../../src/platform/collection.ts';
import { spawnNodeWorker } from '../../src/platform/node-worker.ts';
import type { EchoRequest } from './echo-worker.ts';

if (process.argv[2] === 'small') {
  keepYoungGenerationSmall();
  const entry = new URL('./echo-worker.ts', import.meta.url);
  const worker = spawnNodeWorker<EchoRequest, string>(entry, 'echo', (error) => {
    throw error;
  });
  await new Promise((answered) => {
    worker.receive(answered);
    worker.post({ text: 'here' });
  });
}
let kept: { readonly i: number }[] = [];
for (let i = 0; i < 2e6; i += 1) {
  kept.push({ i });
  if (kept.length > 100_000) kept = [];
}
const space = getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space');
process.stdout.write(String(space?.space_size), () => process.exit());
