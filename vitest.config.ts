import { defineConfig } from 'vitest/config';

/** These start daemons, tools and kernels, which wait for each other and for disks half of the time. */
const waitingSuites = ['interop', 'crash', 'sync', 'cuts', 'snapshots', 'views', 'verify'];
const slowSuites = ['simulation', 'fuzz', ...waitingSuites];

/** Timeouts are for one test; a suite that uses all processors runs its files one after the other. */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: slowSuites.map((suite) => `test/${suite}/**`),
          // Against what hangs: on a busy machine of two processors some take 20 s.
          testTimeout: 90_000,
          hookTimeout: 60_000,
          // Modules are loaded once for all files of a worker; a tenth of the time would go into that.
          isolate: false,
          // Half of the time these wait for daemons that they start.
          maxWorkers: 4,
        },
      },
      ...slowSuites.map((suite) => ({
        test: {
          name: suite,
          include: [`test/${suite}/**/*.test.ts`],
          fileParallelism: waitingSuites.includes(suite),
          maxWorkers: 2,
          testTimeout: 300_000,
          hookTimeout: 60_000,
        },
      })),
    ],
    coverage: { provider: 'v8', include: ['src/**/*.ts'] },
  },
});
