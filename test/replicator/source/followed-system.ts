import { expect } from 'vitest';
import { recordType } from '../../../src/journal/record.ts';
import { MiB } from '../../../src/platform/limits.ts';
import type { SourceDependencies } from '../../../src/replicator/source/source.ts';
import { SimulatedMachine } from '../../journal/simulated-system.ts';
import { serve, type Setting, type VolumeSettings } from '../../journal/volume-under-test.ts';
import { SourceSetting } from './source-setting.ts';
import { TestReader } from './test-reader.ts';

export interface Followed {
  readonly setting: Setting;
  readonly machine: SimulatedMachine;
  readonly source: SourceSetting;
  readonly reader: TestReader;
}

/** A system with a group that `reader` may read. */
export async function followed(
  seed: number | string,
  settings: Partial<VolumeSettings> = {},
  answer?: SourceDependencies['answer'],
): Promise<Followed> {
  const machine = new SimulatedMachine(seed, { cacheMissChance: 0.1 });
  const setting = await serve(machine, { sizeBytes: 4 * MiB, ...settings });
  const source = new SourceSetting(machine);
  await source.start(answer);
  machine.group().followers.register(7, 'reader', 0);
  await machine.pass(2);
  return { setting, machine, source, reader: new TestReader(source, 7) };
}

/** What was read is what hosts wrote, all of it once and in order. */
export function compare({ setting, reader }: Followed): void {
  const { sizeBytes } = setting;
  const image = Buffer.alloc(sizeBytes);
  let last = 0;
  for (const { number, type, offset, length, bytes } of reader.records) {
    expect(number).toBe(last + 1);
    last = number;
    if (type === recordType.catalog) continue;
    if (bytes) image.set(bytes, offset);
    else image.fill(0, offset, offset + length);
  }
  expect(last).toBe(reader.number);
  expect(image.equals(setting.history.contents('g/v', sizeBytes, last))).toBe(true);
}

export async function restart({ setting, machine, source }: Followed, end: 'kill' | 'losePower') {
  source.end();
  machine[end]();
  await machine.start();
  setting.reopen();
  setting.history.forgetAfter(machine.group().watermarks.newest);
  await source.start();
}
