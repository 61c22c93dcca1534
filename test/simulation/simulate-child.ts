/** A process that runs the seeds that it is told, one after the other, until nobody can tell it any more. */
import { on } from 'node:events';
import { runHere, type SeedTask } from './seed-runner.ts';

for await (const [task] of on(process, 'message', { close: ['disconnect'] }))
  process.send?.(await runHere(task as SeedTask));
