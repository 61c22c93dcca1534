import { CopiedVolumes } from '../../group/volumes/copied-contents.ts';
import type { Group } from '../../group/order/group.ts';
import type { GroupFiles } from '../../group/catalog/group-files.ts';
import { ResyncedRegions } from '../../group/volumes/resynced-regions.ts';
import { VolumeCopies } from '../../group/volumes/volume-copies.ts';
import type { Disk } from '../../platform/disk.ts';
import type { JnbdError } from '../../platform/errors.ts';
import { KiB } from '../../platform/limits.ts';
import { copiedVolumesMax, type JournalRead } from '../protocol/wire.ts';
import { formatRange, type WantedRange } from '../protocol/wire-ranges.ts';

export interface FollowedContentsOwner {
  /** What `copies` refused may be given again. */
  roomAppeared(): void;
  /** A read that had to wait for what to ask may be sent. */
  askable(): void;
  /** It goes on from what is durable, once the cause is gone. */
  failed(error: JnbdError): void;
  tell(code: string, message: string): void;
}

export type WantedFromSource = Pick<JournalRead, 'copied' | 'members' | 'ranges'>;

/** Of the header that names ranges. */
const rangesBytesMax = 6 * KiB;

/** Contents that a follower asks its source for beside records: whole volumes, or what a resync names. */
export class FollowedContents {
  readonly copies: VolumeCopies;
  readonly resync: ResyncedRegions | undefined;
  readonly #group: Group;
  readonly #copied: CopiedVolumes;

  /** Throws JnbdError: format_newer. */
  constructor(group: Group, disk: Disk, files: GroupFiles, owner: FollowedContentsOwner) {
    const { name } = group;
    this.#group = group;
    this.#copied = new CopiedVolumes(group);
    this.resync = group.follow.state?.resync
      ? new ResyncedRegions(group, disk, files, {
          askable: () => owner.askable(),
          resynced: () => owner.tell('resynced', `group ${name} is of one instant again`),
        })
      : undefined;
    if (this.resync?.isKnown === false) {
      const text = `which regions group ${name} still needs cannot be read from ${files.resyncRegions}: all of its volumes comes again`;
      owner.tell('resync_regions_lost', text);
    }
    this.copies = new VolumeCopies(group, this.resync ?? this.#copied, {
      roomAppeared: () => owner.roomAppeared(),
      failed: (error) => owner.failed(error),
      completed: () => owner.tell('copy_completed', `group ${name} has all contents`),
    });
  }

  /** Volumes that are not complete. */
  copiedVolumes(): number[] {
    return this.#copied.progress().map(({ volume }) => volume);
  }

  /** Undefined: there is no resync, or it is over. */
  get underWay(): ResyncedRegions | undefined {
    return this.resync?.isOver ? undefined : this.resync;
  }

  /** How many reads there may be at a time: what regions are left is known after each. */
  readsMax(links: number): number {
    return this.underWay ? 1 : links;
  }

  /** Not records alone. */
  get isWanted(): boolean {
    return this.underWay !== undefined || this.#copied.progress().length > 0;
  }

  /** What the next read asks for; undefined: not yet, `askable` follows. */
  wanted(): WantedFromSource | undefined {
    const { underWay } = this;
    const ranges = underWay ? underWay.ask() : [];
    if (!ranges) return undefined;
    const copied = this.#copied.progress().slice(0, copiedVolumesMax);
    return {
      copied: copied.map(({ volume, address }) => ({ volume, address })),
      ranges: fittingRanges(ranges),
      members: this.#group.followers.members.below(),
    };
  }

  close(): void {
    this.resync?.close();
    this.copies.close();
  }
}

/** Headers have room for so many, beside all that stands there too. */
function fittingRanges(ranges: readonly WantedRange[]): readonly WantedRange[] {
  let bytes = 0;
  const end = ranges.findIndex((range) => {
    bytes += formatRange(range).length + 1;
    return bytes > rangesBytesMax;
  });
  return end < 0 ? ranges : ranges.slice(0, end);
}
