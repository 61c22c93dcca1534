import { readFrom } from '../../history/bases.ts';
import { PastBlocks } from '../../history/past-blocks.ts';
import type { BaseFiles } from '../../history/base-files.ts';
import { BlockIndex } from '../../volume/block-index.ts';
import { assert } from '../../platform/assert.ts';
import type { Disk, DiskFile } from '../../platform/disk.ts';
import { indexRecord } from '../../volume/index-record.ts';
import { CountedVolumeMetrics } from '../apply/volume-metrics.ts';
import type { OpenSession } from '../apply/volume.ts';
import type { CatalogVolume } from '../catalog/catalog.ts';
import type { Overlay } from '../overlays/overlay.ts';
import type { BaseBits } from './base-bits.ts';
import type { KeptBase } from './history-group.ts';
import { type ListingGroup, listUpdates } from './listed-updates.ts';
import { volumesAfter } from './volumes-at.ts';

/** As it stands in the group's file of views. */
export interface ViewEntry {
  readonly name: string;
  /** What it shows: all updates up to this one. */
  readonly number: number;
  /** Of the base that it is made of, with the records behind it. */
  readonly base: number;
  readonly createdAtMilliseconds: number;
}

/** `opening`: its records are being read. `ended`: what it needs is not there any more, or nobody wants it. */
export type ViewState = 'opening' | 'open' | 'ended';

export const viewTransitions: Record<ViewState, readonly ViewState[]> = {
  opening: ['open', 'ended'],
  open: ['ended'],
  ended: [],
};

/** A volume as a view shows it. */
export class ViewVolume {
  readonly entry: CatalogVolume;
  readonly blocks: PastBlocks;
  readonly index: BlockIndex;
  readonly sessions = new Set<OpenSession>();
  readonly metrics = new CountedVolumeMetrics();

  constructor(entry: CatalogVolume, index: BlockIndex, blocks: PastBlocks) {
    this.entry = entry;
    this.index = index;
    this.blocks = blocks;
  }

  get id(): number {
    return this.entry.id;
  }
}

/** One table holds the records of a base's time, unless they are many small ones. */
const tableNodesMax = 2 ** 15;

/** All volumes of a group as they were at one update number, while they go on changing. */
export class View {
  readonly entry: ViewEntry;
  readonly isWritable: boolean;
  /** What is written to it; undefined: nothing can be, or not yet. */
  overlay: Overlay | undefined;
  readonly volumes: ViewVolume[] = [];
  /** Volumes that were there then, and whose contents are not any more. */
  readonly missing: string[] = [];
  /** Volumes that were on their way back to an earlier update then, and of no one instant. */
  readonly unsettled: CatalogVolume[] = [];
  #state: ViewState = 'opening';
  /** Why it ended. */
  reason = '';

  constructor(entry: ViewEntry, isWritable = false, overlay?: Overlay) {
    this.entry = entry;
    this.isWritable = isWritable;
    this.overlay = overlay;
  }

  get state(): ViewState {
    return this.#state;
  }

  /** For a while only, and for nobody outside. */
  get isPassing(): boolean {
    return this.entry.name === '';
  }

  get sessions(): OpenSession[] {
    return this.volumes.flatMap(({ sessions }) => [...sessions]);
  }

  /**
   * Reads what it needs of the journal and opens the volumes' files. `bases` are those from its own one on, the
   * last one `open`, asked for when the rest is done. Rejects with record_unreadable, system errors; it has to be
   * ended then.
   */
  async open(
    disk: Disk,
    group: ListingGroup,
    files: BaseFiles,
    base: KeptBase,
    pathOf: (id: number) => string,
    bases: () => { readonly closed: readonly string[]; readonly open: BaseBits },
  ): Promise<void> {
    const { number } = this.entry;
    const index = new BlockIndex(tableNodesMax);
    const changes = await listUpdates(group, readFrom(base), number, (record, sequence) => {
      index.makeRoom(record.length, sequence);
      indexRecord(index.active, record, sequence, record.payloadOffset, false);
    });
    if (this.#state !== 'opening') return;
    const volumes = volumesAfter(base.volumes, base.from, changes);
    const { closed, open } = bases();
    for (const entry of volumes) {
      if (entry.journalOnly || entry.state === 'unused') continue;
      if (entry.rollback) {
        this.unsettled.push(entry);
        continue;
      }
      const path = pathOf(entry.id);
      if (!disk.existsSync(path)) {
        this.missing.push(entry.name);
        continue;
      }
      // Read here, where an error ends this view alone: when the next base begins they are at hand.
      open.bits(entry.id);
      const file: DiskFile = disk.openSync(path, 'read', 'volume');
      const blocks = new PastBlocks(files, { id: entry.id, file }, closed, open);
      this.volumes.push(new ViewVolume(entry, index, blocks));
    }
    this.#become('open');
  }

  end(reason: string): void {
    if (this.#state === 'ended') return;
    this.#become('ended');
    this.reason = reason;
    for (const { client } of this.sessions) client.revoke(reason);
    for (const { blocks } of this.volumes) blocks.close();
  }

  #become(state: ViewState): void {
    assert(viewTransitions[this.#state].includes(state), `view ${this.#state} -> ${state}`);
    this.#state = state;
  }
}

/** Why there is nothing to be shown. */
export function nothingText({ entry, unsettled: [first] }: View): string {
  if (!first?.rollback) return `it has no volumes at update ${entry.number}`;
  return unsettledText(entry.number, first);
}

/** Of a volume that was being rolled back at that update. */
export function unsettledText(number: number, { name, rollback }: CatalogVolume): string {
  const before = (rollback?.number ?? number) - 1;
  return `volume ${name} was being rolled back to update ${rollback?.to} at update ${number}, and of no one instant; before that it is update ${before}`;
}
