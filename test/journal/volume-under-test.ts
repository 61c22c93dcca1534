import { strict as assert } from 'node:assert';
import { SegmentReader } from '../../src/journal/segment-reader.ts';
import type { GroupSettings } from '../../src/group/catalog/new-group.ts';
import { isNumbered } from '../../src/journal/record.ts';
import { segmentHeaderBytes } from '../../src/platform/limits.ts';
import { History, TestHost } from './test-host.ts';
import { SimulatedMachine } from './simulated-system.ts';

export interface VolumeSettings extends GroupSettings {
  readonly sizeBytes: number;
  readonly journalOnly?: boolean;
}

export function newMachine(seed: number | string): SimulatedMachine {
  return new SimulatedMachine(seed);
}

/** Starts a daemon with group `g` and volume `v`. */
export async function serve(
  seed: number | string | SimulatedMachine,
  settings: VolumeSettings,
): Promise<Setting> {
  const machine = seed instanceof SimulatedMachine ? seed : new SimulatedMachine(seed);
  const { sizeBytes, journalOnly = false, ...group } = settings;
  await machine.start();
  await machine.createGroup(group);
  await machine.createVolume('v', sizeBytes, journalOnly);
  return new Setting(machine, sizeBytes);
}

/** One volume of one daemon, and what it must read. */
export class Setting {
  readonly machine: SimulatedMachine;
  readonly sizeBytes: number;
  readonly history = new History();
  host: TestHost;

  constructor(machine: SimulatedMachine, sizeBytes: number) {
    this.machine = machine;
    this.sizeBytes = sizeBytes;
    this.host = new TestHost(machine, 'g/v', this.history);
  }

  /** After a restart. */
  reopen(): void {
    this.host = new TestHost(this.machine, 'g/v', this.history);
  }

  /** That many writes; among those of volumes that are read, some TRIM and WRITE_ZEROES. */
  async writeMuch(count: number, bytes = 4096): Promise<void> {
    const { random } = this.machine;
    for (let i = 0; i < count; i += 1) {
      const offset = random.int((this.sizeBytes - bytes) / 512) * 512;
      if (i % 8 === 7 && bytes < 100_000) {
        // Small ones are nodes of the index, large ones ranges.
        const length = random.int(2) * 512 * 1024 + random.between(1, 20) * 512;
        const start = random.int((this.sizeBytes - length) / 512) * 512;
        const number = await this.host.clear(random.pick(['zero', 'hole']), start, length);
        assert.ok(number > 0, `cleared: ${number}`);
      } else {
        const number = await this.host.write(offset, random.bytes(bytes));
        assert.ok(number > 0, `written: ${number}`);
      }
    }
  }

  async flush(): Promise<void> {
    assert.equal(await this.host.flush(), true);
  }

  /** What the volume reads is everything that was written, up to a number that is at least this. */
  async check(atLeast: number): Promise<void> {
    const { newest } = this.machine.group().watermarks;
    assert.ok(newest >= atLeast, `${newest} updates are left of ${atLeast}`);
    const found = await this.host.read(0, this.sizeBytes);
    assert.ok(Buffer.isBuffer(found), `read: ${String(found)}`);
    const expected = this.history.contents('g/v', this.sizeBytes, newest);
    assert.ok(expected.equals(found), 'the volume reads what was written');
    this.history.forgetAfter(newest);
  }

  /** Every number that stands whole in a segment of the group's areas, void ones too. */
  journalNumbers(): { readonly path: string; readonly number: number }[] {
    const numbers: { path: string; number: number }[] = [];
    const { disk } = this.machine;
    const reader = new SegmentReader(disk);
    for (const area of this.machine.group().areas) {
      for (let slot = 0; slot < area.slots; slot += 1) {
        const path = area.segmentPath(slot);
        const file = disk.openSync(path, 'read', 'segment');
        const opened = reader.open(file);
        if (opened.kind !== 'header') continue;
        for (let at = segmentHeaderBytes; ; ) {
          if (reader.recordAt(at, opened.header.salt) !== 'record') break;
          const { type, number, headerBytes, payloadBytes } = reader.header;
          if (isNumbered(type)) numbers.push({ path, number });
          at += headerBytes + payloadBytes;
        }
        file.closeSync();
      }
    }
    return numbers;
  }
}
