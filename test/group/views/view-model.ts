import { strict as assert } from 'node:assert';
import type { GroupSettings } from '../../../src/group/catalog/new-group.ts';
import { configureGroup } from '../../../src/group/system/group-settings.ts';
import type { HistoryLimit } from '../../../src/history/bases.ts';
import { must } from '../../../src/platform/assert.ts';
import { blockBytes } from '../../../src/platform/limits.ts';
import { SnapshotModel } from '../snapshots/snapshot-model.ts';

export const hour = { kind: 'time', milliseconds: 3_600_000 } as const;

interface KnownView {
  readonly name: string;
  readonly number: number;
}

/** A group whose past must read what its records say, at whatever number, whatever happens to its daemon. */
export class ViewModel extends SnapshotModel {
  views: KnownView[] = [];
  /** How many positions were compared. */
  compared = 0;
  #viewed = 0;

  get past() {
    return this.machine.group().views;
  }

  /** As `start`, and a base is there, of a window of an hour. */
  async startWithBase(settings: GroupSettings = {}): Promise<void> {
    await this.start(settings);
    this.configure(hour);
    await this.beginBase();
  }

  configure(history: HistoryLimit | 'off'): void {
    configureGroup(this.machine.group(), { history });
  }

  /** Another base, at what is applied then. */
  async beginBase(): Promise<void> {
    await this.machine.run(this.past.history.begin());
  }

  async createView(number?: number): Promise<void> {
    const { machine, past } = this;
    const from = past.history.from ?? machine.group().watermarks.applied;
    const { answerable } = machine.group().replies.gate;
    if (number === undefined && from > answerable) return;
    const at = number ?? machine.random.between(from, answerable);
    this.#viewed += 1;
    const name = `v${this.#viewed}`;
    const { view } = await machine.run(past.create(name, at));
    assert.deepEqual(
      view.volumes.map(({ entry }) => entry.name),
      this.volumes.map((volume) => volume.name),
    );
    this.views.push({ name, number: at });
  }

  async deleteView(): Promise<void> {
    if (this.views.length === 0) return;
    const [gone] = this.views.splice(this.machine.random.int(this.views.length), 1);
    const { name } = must(gone, 'there is one');
    for (const volume of this.volumes) this.close(`${volume.name}@${name}`);
    assert.equal(await this.machine.run(this.past.delete(name, false)), true);
  }

  async readView(): Promise<void> {
    if (this.views.length === 0) return;
    const { random } = this.machine;
    const { name, number } = random.pick(this.views);
    const volume = random.pick(this.volumes);
    const offset = random.int(volume.sizeBytes / 512) * 512;
    const length = random.between(1, Math.min((volume.sizeBytes - offset) / 512, 512)) * 512;
    await this.#compareView(volume, name, number, offset, length);
  }

  async checkViews(): Promise<void> {
    for (const { name, number } of this.views)
      for (const volume of this.volumes)
        await this.#compareView(volume, name, number, 0, volume.sizeBytes);
  }

  /** Views are opened again behind a start. */
  async untilOpen(): Promise<void> {
    await this.machine.until(() => this.past.list.every(({ state }) => state === 'open'));
    assert.deepEqual(
      this.past.list.map(({ entry }) => entry.name),
      this.views.map(({ name }) => name),
    );
  }

  async #compareView(
    volume: { readonly name: string; readonly sizeBytes: number },
    view: string,
    number: number,
    offset: number,
    length: number,
  ): Promise<void> {
    const host = this.host(`${volume.name}@${view}`);
    const found = await host.read(offset, length);
    assert.ok(Buffer.isBuffer(found), `${volume.name}@${view}: ${host.session.errorText}`);
    const all = this.history.contents(`g/${volume.name}`, volume.sizeBytes, number);
    const expected = all.subarray(offset, offset + length);
    this.compared += 1;
    if (expected.equals(found)) return;
    const at = offset + expected.findIndex((byte, index) => byte !== found[index]);
    const bases = this.past.history.bases.map((base) => base.number).join(', ');
    const { base } = must(this.past.find(view), view).entry;
    assert.fail(
      `${volume.name} at ${number} differs at ${at} (block ${Math.floor(at / blockBytes)}); base ${base} of ${bases}`,
    );
  }
}
