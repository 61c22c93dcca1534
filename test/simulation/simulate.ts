/** `scripts/simulate`: runs seeds of the journal simulation. */
import { parseArgs } from 'node:util';
import { FaultCounter } from './faults.ts';
import { type ProfileName, profileNames, runSeed } from './profiles.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '0' },
    count: { type: 'string', default: '1' },
    steps: { type: 'string', default: '12' },
    profile: { type: 'string' },
    verbose: { type: 'boolean', default: false },
  },
});
const steps = Number(values.steps);
const profile = profileNames.find((name) => name === values.profile) as ProfileName | undefined;
const counter = new FaultCounter();
let failures = 0;
for (let seed = Number(values.seed); seed < Number(values.seed) + Number(values.count); seed += 1) {
  const started = performance.now();
  const result = await runSeed(seed, counter, {
    steps,
    verbose: values.verbose,
    ...(profile === undefined ? {} : { profile }),
  });
  const { simulation } = result.campaign;
  if (result.failure === undefined) {
    const { records, recordBytes } = simulation.tap;
    console.log(
      `seed ${seed} ${result.profile}: ${records} records, ${(recordBytes / 2 ** 20).toFixed(1)} MiB, ${simulation.clock.events} events, ${(performance.now() - started).toFixed(0)} ms`,
    );
  } else {
    failures += 1;
    for (const line of simulation.log.slice(-12)) console.log(`  ${line.slice(0, 300)}`);
    console.log(`seed ${seed} ${result.profile} FAILED: ${result.failure}`);
  }
}
console.log(counter.report());
process.exitCode = failures === 0 ? 0 : 1;
