import type { CatalogChange } from '../../src/group/catalog/catalog.ts';
import { decodeChange } from '../../src/group/catalog/catalog.ts';
import { must } from '../../src/platform/assert.ts';
import type { GroupModel, RecordKind } from './group-model.ts';

/** A record as it stands in the journal. */
interface SeenRecord {
  readonly number: number;
  readonly kind: RecordKind;
  readonly volume: number;
  readonly offset: number;
  readonly length: number;
  readonly payload: Uint8Array;
}

/** Holds what is written while volumes go back against what they were. */
export class RollbackWatch {
  /** By plan and volume: what it held, as far as that is still known. */
  readonly #targets = new Map<string, Buffer>();
  readonly #report: (text: string) => void;

  constructor(report: (text: string) => void) {
    this.#report = report;
  }

  /** A change of the catalog is about to be one of the model's records. */
  changed(model: GroupModel, payload: Uint8Array): void {
    const change = decodeChange(payload);
    if (change.change === 'rollback_begun') this.#begun(model, change);
    else if (change.change === 'rollback_ended') this.#ended(model, change.plan);
  }

  /**
   * Undefined: the volume is not on its way back. Else nobody asked for the record: what is to be kept of it, if it is
   * what the volume held there.
   */
  record(
    model: GroupModel,
    { number, kind, volume, offset, length, payload }: SeenRecord,
  ): { readonly payload: Uint8Array | undefined } | undefined {
    const rollback = model.current.volumes.get(volume)?.catalog.rollback;
    if (!rollback) return undefined;
    const kept = kind === 'write' ? Uint8Array.from(payload) : undefined;
    const target = this.#targets.get(keyOf(rollback.plan, volume));
    if (target) {
      const held = Buffer.alloc(length);
      // What is behind its end then is zeroes now.
      if (offset < target.length) target.copy(held, 0, offset, offset + length);
      const isHeld = kept ? held.equals(kept) : held.every((byte) => byte === 0);
      if (!isHeld)
        this.#report(
          `group ${model.name}: update ${number} (${kind} of ${length} bytes at ${offset} of volume ${volume}) is not what the volume held at update ${rollback.to}, where it is to go back to`,
        );
    }
    return { payload: kept };
  }

  #begun(
    model: GroupModel,
    { plan, to, volumes }: CatalogChange & { readonly change: 'rollback_begun' },
  ): void {
    const image = model.imageAt(to);
    for (const id of volumes) {
      const held = model.current.snapshots.contents(to, id) ?? image?.volumes.get(id)?.contents;
      if (held) this.#targets.set(keyOf(plan, id), Buffer.from(held));
    }
  }

  #ended(model: GroupModel, plan: string): void {
    for (const { catalog, contents } of model.current.volumes.values()) {
      if (catalog.rollback?.plan !== plan) continue;
      const target = this.#targets.get(keyOf(plan, catalog.id));
      if (!target) continue;
      const held = Buffer.alloc(contents.length);
      target.copy(held);
      if (held.equals(contents)) continue;
      const at = held.findIndex((byte, index) => byte !== contents[index]);
      this.#report(
        `group ${model.name}: volume ${catalog.name} is said to be as of update ${must(catalog.rollback, 'it is').to}, and is not from ${at} on`,
      );
    }
  }
}

function keyOf(plan: string, volume: number): string {
  return `${plan} ${volume}`;
}
