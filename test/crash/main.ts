/** `scripts/crash-test`: any number of kills, with progress. */
import { parseArgs } from 'node:util';
import { messageOf } from '../../src/platform/errors.ts';
import { CrashRun } from './crash-run.ts';

function wholeNumber(name: string, text: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= 0) return number;
  console.error(`crash-test: --${name} ${text} is not a whole number`);
  process.exit(2);
}

function readArguments() {
  try {
    return parseArgs({
      options: {
        kills: { type: 'string', default: '20' },
        seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
        verbose: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    console.error(`crash-test: ${messageOf(error)}`);
    process.exit(2);
  }
}

const values = readArguments();
const kills = wholeNumber('kills', values.kills);
const seed = wholeNumber('seed', values.seed);
const began = performance.now();
const seconds = (): number => Math.round((performance.now() - began) / 1000);
console.log(`seed ${seed}, ${kills} kills`);
let logged = 0;
const run = new CrashRun({
  kills,
  seed,
  keepFailed: true,
  log: (text) => {
    if (values.verbose) console.log(text);
    else if (run.report.kills >= logged + 25) {
      logged = run.report.kills;
      console.log(`${logged} kills in ${seconds()} s`);
    }
  },
});
try {
  const report = await run.run();
  console.log(JSON.stringify({ seed, seconds: seconds(), ...report }, null, 2));
} catch (error) {
  console.error(`FAILED after ${run.report.kills} kills: ${messageOf(error)}`);
  console.error(`again: scripts/crash-test --seed ${seed} --kills ${kills} --verbose`);
  if (run.failedDirectory) console.error(`its files: ${run.failedDirectory}`);
  process.exitCode = 1;
}
