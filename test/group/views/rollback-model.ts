import { strict as assert } from 'node:assert';
import { standingRollback } from '../../../src/group/catalog/rollback.ts';
import { SystemExports } from '../../../src/group/system/exports.ts';
import { Rollbacks } from '../../../src/group/system/rollbacks.ts';
import { must } from '../../../src/platform/assert.ts';
import { ViewModel } from './view-model.ts';

/** Where hosts were let in again, and what the volumes hold since: as of which update. */
interface KnownRollback {
  readonly to: number;
  readonly volumes: readonly string[];
}

/** A group that is rolled back again and again, whatever happens to its daemon meanwhile. */
export class RollbackModel extends ViewModel {
  /** How many ended in the life that began them, were gone on with in another, and had not begun. */
  readonly counts = { ended: 0, resumed: 0, lost: 0 };
  #rollbacks: Rollbacks | undefined;
  /** Begun, as far as is known, and not seen to have ended. */
  #pending: KnownRollback | undefined;
  /** Updates between the record that begins one and the one that ends it show no one instant. */
  readonly #between: { readonly from: number; readonly through: number }[] = [];

  get rollbacks(): Rollbacks {
    return must(this.#rollbacks, 'a daemon runs');
  }

  /** As the daemon does behind each start. */
  watch(): void {
    const { machine } = this;
    const { clock } = machine.group();
    const event = (code: string, message: string, fields: Record<string, unknown>): void => {
      machine.events.push({ code, message, fields });
    };
    this.#rollbacks = new Rollbacks({ clock, event, random: machine.random }, machine.system);
    this.#rollbacks.start();
  }

  isShown(number: number): boolean {
    return !this.#between.some(({ from, through }) => number >= from && number < through);
  }

  /** Any update that can be shown. */
  anyNumber(): number | undefined {
    const { machine, past } = this;
    const { answerable } = machine.group().replies.gate;
    const from = past.history.from ?? answerable;
    const number = machine.random.between(from, Math.max(from, answerable));
    return number <= answerable && this.isShown(number) ? number : undefined;
  }

  /** Resolves when it has ended. */
  async rollBack(to: number, names: readonly string[] | 'all' = 'all'): Promise<boolean> {
    const { machine } = this;
    const { ended } = await this.begin(to, names);
    const { newest } = machine.group().watermarks;
    const changed = await machine.run(ended, 600_000);
    this.#ended(newest);
    if (changed) this.counts.ended += 1;
    return changed;
  }

  /** Resolves once it is under way. */
  async begin(
    to: number,
    names: readonly string[] | 'all' = 'all',
  ): Promise<{ readonly ended: Promise<boolean> }> {
    const { machine } = this;
    const group = machine.group();
    const [only] = names === 'all' ? [] : names;
    const wanted = only === undefined ? 'all' : must(group.volumes.get(only), only);
    const estimate = await machine.run(this.rollbacks.estimate(group, wanted, to));
    const volumes = estimate.volumes.map(({ catalog }) => catalog.name);
    for (const name of volumes) this.close(name);
    this.#pending = { to, volumes };
    const { signal } = new AbortController();
    return {
      ended: this.rollbacks.rollBack(group, estimate, { signal, reached: () => undefined }),
    };
  }

  /** What went on when the daemon ended goes on; volumes are what they were before it began, or were to become. */
  async settle(): Promise<void> {
    const { machine } = this;
    const group = machine.group();
    const standing = standingRollback(group.catalog.volumes);
    if (standing) {
      this.counts.resumed += 1;
      const exports = new SystemExports(machine.system, machine.disk);
      for (const volume of group.volumes.values()) {
        if (volume.catalog.rollback === undefined) continue;
        const found = must(exports.find(`g/${volume.catalog.name}`), 'it is exported');
        assert.throws(() => found.open(this.host0), /is being rolled back to update/);
      }
      const { newest } = group.watermarks;
      await machine.until(() => !standingRollback(group.catalog.volumes), 600_000);
      this.#ended(Math.min(newest, standing.number ?? newest));
    } else if (this.#pending) await this.#find(this.#pending);
    this.#pending = undefined;
  }

  readonly host0 = {
    peer: 'nobody',
    admitted: () => undefined,
    durableReached: () => undefined,
    durableFailed: () => undefined,
    readCompleted: () => undefined,
    revoke: () => undefined,
  };

  /** Whether it ended before the daemon did is told by the journal alone. */
  async #find({ to, volumes }: KnownRollback): Promise<void> {
    const { newest } = this.machine.group().watermarks;
    const [name] = volumes;
    const volume = this.volumes.find((each) => each.name === name);
    if (!volume) return;
    const found = await this.host(volume.name).read(0, volume.sizeBytes);
    assert.ok(Buffer.isBuffer(found));
    const then = this.history.contents(`g/${volume.name}`, volume.sizeBytes, to);
    const before = this.history.contents(`g/${volume.name}`, volume.sizeBytes, newest);
    const isBack = then.equals(found);
    assert.ok(
      isBack || before.equals(found),
      `${volume.name} is neither as before nor as of ${to}`,
    );
    if (!isBack) this.counts.lost += 1;
    if (isBack && !before.equals(found)) this.#ended(to);
    else if (isBack) await this.#findOther(volumes, to);
  }

  /** Of one volume that both are alike in nothing can be told. */
  async #findOther(volumes: readonly string[], to: number): Promise<void> {
    if (volumes.length > 1) await this.#find({ to, volumes: volumes.slice(1) });
  }

  #ended(from: number): void {
    const { to, volumes } = must(this.#pending, 'it was begun');
    const { newest } = this.machine.group().watermarks;
    for (const { name, sizeBytes } of this.volumes) {
      if (!volumes.includes(name)) continue;
      const bytes = this.history.contents(`g/${name}`, sizeBytes, to);
      // Numbers of different volumes may be the same here: only their order counts.
      this.history.add({
        number: newest - 1e-6 * (this.volumes.findIndex((each) => each.name === name) + 1),
        export: `g/${name}`,
        offset: 0,
        length: sizeBytes,
        bytes,
      });
    }
    if (newest > from) this.#between.push({ from: from + 1, through: newest });
    this.#pending = undefined;
  }
}
