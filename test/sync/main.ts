/** `scripts/sync-test`: any number of kills, with progress. */
import { parseArgs } from 'node:util';
import { messageOf } from '../../src/platform/errors.ts';
import { SyncRun } from './sync-run.ts';

function wholeNumber(name: string, text: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= 0) return number;
  console.error(`sync-test: --${name} ${text} is not a whole number`);
  process.exit(2);
}

function readArguments() {
  try {
    return parseArgs({
      options: {
        kills: { type: 'string', default: '24' },
        seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
      },
    }).values;
  } catch (error) {
    console.error(`sync-test: ${messageOf(error)}`);
    process.exit(2);
  }
}

const values = readArguments();
const kills = wholeNumber('kills', values.kills);
const seed = wholeNumber('seed', values.seed);
console.log(`seed ${seed}, ${kills} kills`);
const run = new SyncRun({ kills, seed, keepFailed: true, log: (text) => console.log(text) });
try {
  console.log(JSON.stringify({ seed, ...(await run.run()) }, null, 2));
} catch (error) {
  console.error(`FAILED after ${run.report.kills} kills: ${messageOf(error)}`);
  console.error(`again: scripts/sync-test --seed ${seed} --kills ${kills}`);
  if (run.failedDirectory) console.error(`its files: ${run.failedDirectory}`);
  process.exitCode = 1;
}
