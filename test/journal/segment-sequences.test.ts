import { describe, expect, test } from 'vitest';
import { decodeSegmentHeader, segmentFilePattern } from '../../src/journal/segment.ts';
import { MiB, segmentHeaderBytes } from '../../src/platform/limits.ts';
import { SimulatedMachine } from './simulated-system.ts';
import { check, serve, states, writeMuch } from './takeover-setting.ts';
import { TestHost } from './test-host.ts';

/** Of every segment header that the device holds in these areas. */
function sequences(machine: SimulatedMachine, areas: readonly string[]): number[] {
  const found: number[] = [];
  const disk = machine.machine.attach();
  const block = disk.allocateAligned(segmentHeaderBytes);
  for (const area of areas) {
    for (const name of disk.listSync(area)) {
      if (!segmentFilePattern.test(name)) continue;
      const file = disk.openSync(`${area}/${name}`, 'read', 'segment');
      file.readDirectSync(block, 0, block.length, 0);
      file.closeSync();
      const decoded = decodeSegmentHeader(block);
      if (decoded.kind === 'header') found.push(decoded.header.sequence);
    }
  }
  return found.sort((a, b) => a - b);
}

describe('a segment that could not be prepared', () => {
  for (const [name, rule] of [
    ['synced', { kind: 'sync_error', operation: 'sync' }],
    ['written', { kind: 'write_error', operation: 'write' }],
  ] as const) {
    test(`because its header was not ${name} gives its sequence to no other`, async () => {
      for (let seed = 0; seed < 3; seed += 1) {
        const setting = await serve(`${name} ${seed}`);
        const { machine, host } = setting;
        // The next one is prepared in the area that is written.
        const path = '/fast/a/000002.segment';
        machine.machine.faults.add({ ...rule, path, nth: 1 });
        await writeMuch(setting, 100, 200 * 1024);
        expect(await host.flush()).toBe(true);
        expect(states(setting)[0]).toBe('failed');
        const all = sequences(
          machine,
          machine.group().areas.map(({ path }) => path),
        );
        expect(all).toEqual([...new Set(all)]);
        const { durable } = machine.group().watermarks;
        machine.losePower();
        await machine.start();
        expect(machine.group().state).toBe('normal');
        await check(setting, durable);
      }
    });
  }
});

test.each([7, 8, 9, 10])(
  'an area that is not there keeps what it was given in %i lives',
  async (lives) => {
    const machine = new SimulatedMachine(`${lives} lives without a write`);
    const move = (from: string, to: string): void => {
      const disk = machine.machine.attach();
      disk.renameSync(from, to);
      disk.syncDirectorySync('/x');
    };
    await machine.start();
    await machine.createGroup({ journalDirectories: ['/x/1', '/x/2'], areaLayout: 'spare' });
    machine.kill();
    move('/x/1', '/x/away');
    await machine.start();
    await machine.createVolume('v', MiB);
    const host = new TestHost(machine, 'g/v');
    await host.write(0, Buffer.alloc(4096, 1));
    expect(await host.flush()).toBe(true);
    machine.kill();
    move('/x/away', '/x/1');
    // Each life begins a segment in the first area, and prepares another one: nothing else knows of them.
    for (let life = 0; life < lives; life += 1) {
      await machine.start();
      machine.kill();
    }
    move('/x/1', '/x/away');
    await machine.start();
    expect(machine.group().state).toBe('normal');
    machine.kill();
    move('/x/away', '/x/1');
    const all = sequences(machine, ['/x/1', '/x/2']);
    expect(all).toEqual([...new Set(all)]);
  },
);
