/** `scripts/fuzz`: any number of cases, with progress. */
import { parseArgs } from 'node:util';
import { temporaryDirectory } from '../support/temporary.ts';
import { fuzz } from './fuzz-run.ts';
import { startDaemonTarget, startMemoryTarget } from './fuzz-target.ts';

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '5000' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    from: { type: 'string', default: '0' },
    target: { type: 'string', default: 'daemon' },
    connections: { type: 'string', default: '24' },
  },
});
const directory = temporaryDirectory('fuzz');
const start = values.target === 'memory' ? startMemoryTarget : startDaemonTarget;
const target = await start(directory.path);
const began = performance.now();
const seconds = (): number => (performance.now() - began) / 1_000;
console.log(`seed ${values.seed}, ${values.cases} cases against ${values.target} ${target.pid}`);
try {
  const report = await fuzz(target, {
    cases: Number(values.cases),
    seed: Number(values.seed),
    from: Number(values.from),
    connections: Number(values.connections),
    progress: (done, { probes, slowestMilliseconds }) => {
      if (done % 10_000 !== 0) return;
      const rate = Math.round(done / seconds());
      const slowest = Math.round(slowestMilliseconds);
      console.log(`${done} cases, ${rate}/s, ${probes} probes, slowest ${slowest} ms`);
    },
  });
  console.log(
    JSON.stringify({ seed: Number(values.seed), seconds: Math.round(seconds()), ...report }),
  );
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  await target.stop();
  directory.remove();
}
