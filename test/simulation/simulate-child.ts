/** A process that runs seeds and tells the one that started it. Its argument is the options as JSON. */
import { type ChildMessage, runHere, type SeedOptions } from './seed-runner.ts';

const options = JSON.parse(process.argv[2] ?? '{}') as SeedOptions;
const tell = (message: ChildMessage): void => {
  process.send?.(message);
};
const counts = await runHere(options, (report) => tell({ kind: 'seed', report }));
tell({ kind: 'end', counts });
process.disconnect?.();
