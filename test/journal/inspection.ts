import { inspectJournal } from '../../src/journal/inspect.ts';
import type { GroupReport, JournalReport, RecordReport } from '../../src/journal/inspect-report.ts';
import { must } from '../../src/platform/assert.ts';
import type { Disk } from '../../src/platform/disk.ts';
import { KiB, MiB } from '../../src/platform/limits.ts';
import type { SimulatedMachine } from './simulated-system.ts';
import { type Setting, serve, type VolumeSettings } from './volume-under-test.ts';

export const groupDirectory = '/data/groups/g';

/** Reads offline in a process that dies at the first thing it writes. */
export function inspect(
  machine: SimulatedMachine,
  directory = '/data',
  records?: RecordReport[],
): JournalReport {
  const { faults } = machine.machine;
  const rules = (['write', 'sync', 'entry', 'sync_directory'] as const).map((operation) => ({
    kind: 'death' as const,
    operation,
    nth: 1,
  }));
  for (const rule of rules) faults.add(rule);
  try {
    return inspectJournal(machine.machine.attach(), directory, (record) => records?.push(record));
  } finally {
    for (const rule of rules) faults.remove(rule);
  }
}

export function group(report: JournalReport): GroupReport {
  return must(report.groups[0], 'one group was read');
}

export function codes(report: JournalReport): string[] {
  return group(report).problems.map(({ severity, code }) => `${severity} ${code}`);
}

export function flip(disk: Disk, path: string, offset: number, bytes = 1): void {
  const file = disk.openSync(path, 'read-write', 'segment');
  const contents = Buffer.alloc(bytes);
  file.readSync(contents, 0, bytes, offset);
  for (let at = 0; at < bytes; at += 1) contents[at] = (contents[at] ?? 0) ^ 0x40;
  file.writeSync(contents, 0, bytes, offset);
  file.dataSyncSync();
  file.closeSync();
}

/** A group with writes before and behind a checkpoint, killed. */
export async function crashed(
  seed: string,
  settings: Partial<VolumeSettings> = {},
): Promise<Setting> {
  const setting = await serve(seed, { sizeBytes: 2 * MiB, ...settings });
  const { machine } = setting;
  await setting.writeMuch(60, 60 * KiB);
  await setting.flush();
  machine.group().hurryApply();
  await machine.until(() => machine.group().watermarks.applied >= 61);
  await machine.pass(10_000);
  await setting.writeMuch(60, 60 * KiB);
  await setting.flush();
  await machine.pass(500);
  machine.kill();
  return setting;
}
