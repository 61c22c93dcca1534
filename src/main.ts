#!/usr/bin/env node
import { runCommandLine } from './cli/program.ts';
import { keepYoungGenerationSmall } from './platform/collection.ts';

let isServing = false;
// A reader that has seen enough closes the pipe; that is no failure, and no reason to stop serving.
process.stdout.on('error', () => {
  if (!isServing) process.exit(0);
});
process.stderr.on('error', () => undefined);

const code = await runCommandLine(process.argv.slice(2), async (settings) => {
  isServing = true;
  // Before the modules of the daemon are loaded.
  keepYoungGenerationSmall();
  const { startDaemon } = await import('./daemon/serve.ts');
  return startDaemon(settings);
});
isServing = false;
// What is still open (a worker after a start that failed) must not hold the process.
process.stdout.write('', () => process.exit(code));
