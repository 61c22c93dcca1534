import { must } from '../../platform/assert.ts';
import type { CopyProgress } from '../catalog/follow-file.ts';
import type { Position } from '../catalog/lineage.ts';
import type { Group } from '../order/group.ts';
import type { ShownContents } from './shown-contents.ts';

/** A piece of a volume as the source read it, behind the record that this system has appended last. */
export interface CopiedPiece {
  readonly volume: number;
  readonly isHole: boolean;
  readonly offset: number;
  readonly length: number;
  /** Nothing in it was written by a record above this one of the source's history. */
  readonly shows: Position;
}

/** Which contents are wanted, which of them are written, and which of those are on the device. */
export interface WantedContents {
  /** Takes no notice of what was written and is not durable: the source sends it again. */
  startAgain(): void;
  /** What is wrong with a piece that is not the next one; undefined: it is. */
  refusal(piece: CopiedPiece): string | undefined;
  written(piece: CopiedPiece): void;
  /** Something was written that is not known to be on the device, or is wanted no more. */
  readonly hasNews: boolean;
  /** Nothing more is wanted than what is written. */
  readonly isWritten: boolean;
  /**
   * What is written by now. Once it is on the device what this returns makes that durable, with what it
   * shows; it throws system errors, and says whether everything is there.
   */
  cover(contents: ShownContents): () => boolean;
}

/** Whole volumes, in order of address (K12): how far each has come stands in the follow file. */
export class CopiedVolumes implements WantedContents {
  readonly #group: Group;
  /** How far each volume is written; not yet durable from its progress in the follow file on. */
  readonly #written = new Map<number, number>();

  constructor(group: Group) {
    this.#group = group;
    this.startAgain();
  }

  /** What is durable of volumes that are not complete. */
  progress(): readonly CopyProgress[] {
    return this.#group.follow.state?.copies ?? [];
  }

  startAgain(): void {
    this.#written.clear();
    for (const { volume, address } of this.progress()) this.#written.set(volume, address);
  }

  refusal({ volume: id, offset, length }: CopiedPiece): string | undefined {
    const next = this.#written.get(id);
    if (next === undefined) return 'it is not being copied';
    const isInside = length > 0 && offset + length <= this.#sizeOf(id);
    return offset === next && isInside ? undefined : `${next} is next`;
  }

  written({ volume, offset, length }: CopiedPiece): void {
    this.#written.set(volume, offset + length);
  }

  get hasNews(): boolean {
    return [...this.#written].some(
      ([id, address]) => address > this.#durableAddress(id) || this.#sizeOf(id) === 0,
    );
  }

  get isWritten(): boolean {
    return [...this.#written].every(([id, address]) => address >= this.#sizeOf(id));
  }

  cover(contents: ShownContents): () => boolean {
    const covered = new Map(this.#written);
    return () => {
      const { follow } = this.#group;
      const state = must(follow.state, 'a group that copies follows');
      const copies = [...covered]
        .map(([volume, address]) => ({ volume, address }))
        .filter(({ volume, address }) => address < this.#sizeOf(volume));
      follow.write({ ...state, ...contents, copies });
      for (const [id, address] of covered) {
        if (address >= this.#sizeOf(id)) this.#finish(id);
      }
      return copies.length === 0;
    };
  }

  #durableAddress(id: number): number {
    return this.progress().find(({ volume }) => volume === id)?.address ?? 0;
  }

  /** A volume that was deleted meanwhile has nothing left to copy. */
  #sizeOf(id: number): number {
    return this.#group.catalog.volumes.find((volume) => volume.id === id)?.sizeBytes ?? 0;
  }

  #finish(id: number): void {
    this.#written.delete(id);
    const volume = [...this.#group.volumes.values()].find(({ catalog }) => catalog.id === id);
    if (volume?.state === 'unused') volume.become(volume.catalog.state);
  }
}
