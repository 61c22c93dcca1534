import type { PrivateStore } from '../../history/private-store.ts';
import type { OpenSession } from '../apply/volume.ts';
import { CountedVolumeMetrics } from '../apply/volume-metrics.ts';

/** A volume, as it was when the overlay was made. */
export interface OverlayVolumeEntry {
  readonly id: number;
  readonly name: string;
  readonly dataBytes: number;
}

/** A connection to one of its volumes. */
export interface OverlayUser extends OpenSession {
  /** The overlay may have become whole: then what is underneath is left. */
  becameWhole(): void;
}

/** One volume of an overlay while its group is open. */
export class OverlayVolume {
  readonly entry: OverlayVolumeEntry;
  readonly store: PrivateStore | undefined;
  readonly metrics = new CountedVolumeMetrics();
  readonly sessions = new Set<OverlayUser>();

  constructor(entry: OverlayVolumeEntry, store: PrivateStore | undefined) {
    this.entry = entry;
    this.store = store;
  }
}

/** Volumes that nobody writes to, as a snapshot's or a view's, to be written to on this system alone (SAFETY 29). */
export class Overlay {
  readonly name: string;
  readonly volumes: readonly OverlayVolume[];
  /** Its stores have all blocks: nothing underneath is needed, or there, any more. */
  isWhole = false;
  readonly #failure: string;

  /** `failure`: why its stores cannot be opened. */
  constructor(name: string, volumes: readonly OverlayVolume[], failure: string) {
    this.name = name;
    this.volumes = volumes;
    this.#failure = failure;
  }

  /** Why it cannot be used; empty: it can. */
  get failure(): string {
    const failed = this.volumes.find(({ store }) => store && store.failure !== '');
    return this.#failure || (failed?.store?.failure ?? '');
  }

  /** On disk. */
  get allocatedBytes(): number {
    return this.volumes.reduce((sum, { store }) => sum + (store?.allocatedBytes ?? 0), 0);
  }

  /** Something would be lost with it. */
  get isWritten(): boolean {
    return this.volumes.some(
      ({ store }) => !store || store.next(true, 0, store.blocks) < store.blocks,
    );
  }

  *sessions(): Generator<OverlayUser> {
    for (const { sessions } of this.volumes) yield* sessions;
  }

  /** Syncs what is owed. Sessions were told to go. */
  async close(): Promise<void> {
    await Promise.all(this.volumes.flatMap(({ store }) => store?.close() ?? []));
  }
}
