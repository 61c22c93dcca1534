import { expect } from 'vitest';
import type { Group } from '../../src/group/order/group.ts';
import type { Area } from '../../src/journal/area.ts';
import { MiB } from '../../src/platform/limits.ts';
import { History, TestHost } from './test-host.ts';
import { SimulatedMachine } from './simulated-system.ts';

const sizeBytes = 2 * MiB;
export const areas = ['/fast/a', '/other/b'];

export interface Setting {
  readonly machine: SimulatedMachine;
  readonly host: TestHost;
  readonly history: History;
}

export async function serve(
  seed: number | string,
  layout: 'spare' | 'striped' = 'spare',
  journalDirectories: readonly string[] = areas,
  memoryBytes = 64 * MiB,
): Promise<Setting> {
  const machine = new SimulatedMachine(seed);
  await machine.start(memoryBytes);
  await machine.createGroup({ journalDirectories, areaLayout: layout });
  await machine.createVolume('v', sizeBytes);
  const history = new History();
  return { machine, history, host: new TestHost(machine, 'g/v', history) };
}

export async function writeMuch(
  { machine, host }: Setting,
  count: number,
  bytes = 4096,
): Promise<void> {
  for (let i = 0; i < count; i += 1) {
    const offset = machine.random.int((sizeBytes - bytes) / 512) * 512;
    const number = await host.write(offset, machine.random.bytes(bytes));
    expect(number).toBeGreaterThan(0);
    if (i % 7 === 6) {
      // Small ones are nodes of the index, large ones ranges.
      const length = machine.random.int(2) * 512 * 1024 + machine.random.between(1, 20) * 512;
      const start = machine.random.int((sizeBytes - length) / 512) * 512;
      await host.clear(machine.random.pick(['zero', 'hole']), start, length);
    }
  }
}

/** What the volume reads is all that was written, or at a crash a prefix of at least so much. */
export async function check({ machine, history }: Setting, atLeast: number): Promise<void> {
  const { newest } = machine.group().watermarks;
  expect(newest).toBeGreaterThanOrEqual(atLeast);
  const host = new TestHost(machine, 'g/v');
  const found = await host.read(0, sizeBytes);
  host.close();
  expect(history.contents('g/v', sizeBytes, newest).equals(found as Buffer)).toBe(true);
  history.forgetAfter(newest);
}

export function areaOf({ machine }: Setting): string {
  return machine.group().chain.current.area.path;
}

export function states({ machine }: Setting): string[] {
  return journalAreas(machine.group()).map(({ state }) => state);
}

function journalAreas({ areas: all }: Group): Area[] {
  return all.filter(({ role }) => role === 'journal');
}
