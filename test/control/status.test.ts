import { expect, test } from 'vitest';
import { command as volumeList } from '../../src/cli/volume-list.ts';
import { command as volumeShow } from '../../src/cli/volume-show.ts';
import { Metrics } from '../../src/control/metrics.ts';
import { watchProcess } from '../../src/control/process-watch.ts';
import { CopyClock } from '../../src/control/copy-clock.ts';
import { LagClock } from '../../src/control/lag-clock.ts';
import { StatusReport } from '../../src/control/status.ts';
import { SystemExports } from '../../src/group/system/exports.ts';
import { must } from '../../src/platform/assert.ts';
import { MiB } from '../../src/platform/limits.ts';
import type { SimulatedMachine } from '../journal/simulated-system.ts';
import { TestHost } from '../journal/test-host.ts';
import { serve } from '../journal/volume-under-test.ts';

const nothingVerified = { progress: () => undefined, last: () => undefined };

async function read({ system, disk, clock }: SimulatedMachine) {
  const watch = watchProcess();
  const metrics = new Metrics({
    system,
    lagClock: new LagClock(clock, system),
    copyClock: new CopyClock(clock, system, () => 0),
    following: { upstream: () => undefined },
    cutting: { list: () => [] },
    verifying: nothingVerified,
    watch,
    version: '1.2.3',
    memoryBytes: MiB,
    connections: () => [],
  });
  const isTaken = /^jnbd_volume_normal\{.*\} 1$/m.test(await metrics.read());
  watch.close();
  const exports = new SystemExports(system, disk);
  const status = new StatusReport({
    branches: () => [],
    system,
    exports,
    clock,
    lagClock: new LagClock(clock, system),
    copyClock: new CopyClock(clock, system, () => 0),
    following: { upstream: () => undefined },
    cutting: { list: () => [] },
    verifying: nothingVerified,
    rollbacks: { progress: () => undefined },
    version: '1.2.3',
    memoryBytes: MiB,
    residentBytes: () => MiB,
    nbdAddresses: () => [],
    listenUrl: () => 'http://127.0.0.1:10810',
    connections: () => [],
    uris: (name) => [`nbd://here/${name}`],
  }).read();
  const volume = must(status.groups[0]?.volumes[0], 'a volume');
  const line = volumeList.text({ volumes: [{ group: 'g', volume }] });
  return { volume, line, isTaken, shown: volumeShow.text({ group: 'g', volume }) };
}

function refusal(machine: SimulatedMachine): string {
  try {
    new TestHost(machine, 'g/v').close();
    return '';
  } catch (error) {
    return (error as Error).message;
  }
}

test('a volume is shown as hosts get it, whatever its group is', async () => {
  const { machine, host } = await serve('as hosts get it', { sizeBytes: 2 * MiB });
  expect(refusal(machine)).toBe('');
  expect((await read(machine)).volume).toMatchObject({
    state: 'normal',
    failure: '',
    exports: ['g/v', 'v', ''],
    uris: ['nbd://here/g/v'],
  });
  expect((await read(machine)).isTaken).toBe(true);
  expect((await read(machine)).shown).toMatch(/^uri: +nbd:\/\/here\/g\/v$/m);
  await host.write(0, new Uint8Array(4096).fill(1));
  machine.machine.faults.add({ kind: 'sync_error', operation: 'sync', role: 'segment' });
  expect(await host.flush()).toBe(false);
  expect(machine.group().state).toBe('abnormal');
  const failure = refusal(machine);
  expect(failure).toContain('group g is abnormal: ');
  const { volume, line, shown, isTaken } = await read(machine);
  expect(isTaken).toBe(false);
  expect(volume).toMatchObject({ state: 'abnormal', failure, exports: [], uris: [] });
  expect(line).toMatch(/^g\/v +abnormal /m);
  expect(shown).toContain(`abnormal (${failure})`);
  expect(shown).not.toContain('nbd://');
});

test('a volume that is abnormal itself has no URI either', async () => {
  const { machine } = await serve('abnormal itself', { sizeBytes: 2 * MiB });
  machine.kill();
  machine.disk.removeFileSync('/data/groups/g/volumes/0001.volume');
  await machine.start();
  expect(machine.group().state).toBe('normal');
  expect(refusal(machine)).toContain('volume g/v is abnormal');
  const { volume } = await read(machine);
  expect(volume).toMatchObject({ state: 'abnormal', exports: [], uris: [] });
  expect(volume.failure).toContain('0001.volume is missing');
});
