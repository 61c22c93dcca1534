#!/usr/bin/env node
import { runCommandLine } from './cli/program.ts';

// A reader that has seen enough closes the pipe; that is no failure.
process.stdout.on('error', () => process.exit(0));

const code = await runCommandLine(process.argv.slice(2), async (settings) => {
  const { startDaemon } = await import('./daemon.ts');
  return startDaemon(settings);
});
// What is still open (a worker after a start that failed) must not hold the process.
process.stdout.write('', () => process.exit(code));
