import type { VolumeSum } from '../../journal/point-record.ts';
import { must } from '../../platform/assert.ts';
import type { WorkerPort } from '../../platform/worker-port.ts';
import type { ApplyVolume, FromApply, ToApply } from '../../volume/apply-messages.ts';
import type { Preserving } from '../../volume/preserved-blocks.ts';
import type { PreservedVolume } from '../../volume/preserved-files.ts';
import type { RecordListingAnswer } from '../../volume/record-list.ts';
import type { ScannedSegment } from '../../volume/region-scan.ts';
import type { Region } from '../../volume/region-set.ts';
import type { RegionAnswer, RegionWork } from '../../volume/region-work.ts';

type ContentsAnswer = FromApply & { readonly kind: 'copied' | 'hashed' | 'preserved' };

/** `failure`: why some are not kept. */
type ChecksumsWorked = (isComplete: boolean, failure: string | undefined) => void;

export type ListedRecords = RecordListingAnswer;

/** Or why they could not be made. */
export type Hashed = (FromApply & { kind: 'hashed' })['hashes'];

/** Undefined: it was done. */
export type PreserveFailure = (FromApply & { kind: 'preserved' })['failure'];

/** Where the checksums of volumes are compared. */
export interface ApplyPoints {
  /** Whether a table that ends there ends with a point. */
  isPoint(number: number): boolean;
  /** Such a table was applied: what the volumes hold, of those where that is known. */
  applied(number: number, sums: readonly VolumeSum[]): void;
}

/** What is asked of the apply worker beside applying. It answers in order. */
export class ApplyRequests {
  readonly #port: WorkerPort<ToApply, FromApply>;
  readonly #copies: ((failure: string | undefined) => void)[] = [];
  readonly #hashes: ((hashes: Hashed) => void)[] = [];
  readonly #preserves: ((failure: PreserveFailure) => void)[] = [];
  readonly #regionWork: ((answer: RegionAnswer | undefined) => void)[] = [];
  readonly #bases: ((failure: string | undefined) => void)[] = [];
  readonly #checksums: ChecksumsWorked[] = [];
  readonly #listings: ((answer: RecordListingAnswer) => void)[] = [];

  constructor(port: WorkerPort<ToApply, FromApply>) {
    this.#port = port;
  }

  /**
   * Whoever asks sees to it that nothing of the journal is on its way to the volume. `contents` are all of
   * their memory, and given away.
   */
  copy(
    volume: ApplyVolume,
    offset: number,
    length: number,
    contents: Uint8Array<ArrayBuffer> | undefined,
    done: (failure: string | undefined) => void,
  ): void {
    this.#copies.push(done);
    const givenAway = contents ? [contents.buffer] : [];
    this.#port.post({ kind: 'copy', volume, offset, length, contents }, givenAway);
  }

  /** Saves what these regions hold, before they are overwritten; durable at `done`. */
  preserve(
    regions: readonly Region[],
    volumes: readonly ApplyVolume[],
    done: (failure: PreserveFailure) => void,
  ): void {
    this.#preserves.push(done);
    this.#port.post({ kind: 'preserve', regions, volumes });
  }

  /** Hashes of what the volume's file holds of [offset, offset + length). */
  hash(volume: ApplyVolume, offset: number, length: number, done: (hashes: Hashed) => void): void {
    this.#hashes.push(done);
    this.#port.post({ kind: 'hash', volume, offset, length });
  }

  /** What was preserved is not needed any more, and nothing is from now on. */
  dropPreserved(): void {
    this.#port.post({ kind: 'drop_preserved' });
  }

  /** Behind what was posted before. `done` gets no answer where the group is closed first. */
  findRegions(work: RegionWork, done: (answer: RegionAnswer | undefined) => void): void {
    this.#regionWork.push(done);
    this.#port.post(work);
  }

  /** A base of the history begins: nothing is being applied, and a checkpoint covers all that was. */
  beginBase(
    base: Preserving,
    contents: Uint8Array,
    done: (failure: string | undefined) => void,
  ): void {
    this.#bases.push(done);
    this.#port.post({ kind: 'begin_base', base, contents });
  }

  /** What is applied to these from now on is saved in the newest base. */
  coverVolumes(volumes: readonly PreservedVolume[]): void {
    this.#port.post({ kind: 'cover_volumes', volumes });
  }

  /** Oldest first. */
  dropBases(directories: readonly string[], done: (failure: string | undefined) => void): void {
    this.#bases.push(done);
    this.#port.post({ kind: 'drop_bases', directories });
  }

  /** Checksums are kept from now on, those that are there believed or not; undefined: not any more. */
  keepChecksums(
    directory: string,
    place: { readonly isKept: boolean } | undefined,
    done: ChecksumsWorked,
  ): void {
    this.#checksums.push(done);
    this.#port.post({ kind: 'keep_checksums', directory, place });
  }

  /** Goes on with checksums that are not complete, a few MiB of volumes at a time. */
  workOnChecksums(volumes: readonly ApplyVolume[], done: ChecksumsWorked): void {
    this.#checksums.push(done);
    this.#port.post({ kind: 'work_on_checksums', volumes });
  }

  listRecords(
    segments: readonly ScannedSegment[],
    from: number,
    through: number,
    done: (answer: RecordListingAnswer) => void,
  ): void {
    this.#listings.push(done);
    this.#port.post({ kind: 'list_records', segments, from, through });
  }

  /** The worker answers no more. */
  close(): void {
    const message = 'the group is being closed';
    for (const done of this.#bases.splice(0)) done(message);
    for (const done of this.#listings.splice(0)) done({ kind: 'records_not_listed', message });
    for (const done of this.#hashes.splice(0)) done({ failure: 'the group is being closed' });
    for (const done of this.#regionWork.splice(0)) done(undefined);
  }

  /** False: it answers something else. */
  received(message: FromApply): message is ContentsAnswer {
    switch (message.kind) {
      case 'copied':
        must(this.#copies.shift(), 'a copy was under way')(message.failure);
        return true;
      case 'hashed':
        must(this.#hashes.shift(), 'hashes were asked for')(message.hashes);
        return true;
      case 'preserved':
        must(this.#preserves.shift(), 'something was to be preserved')(message.failure);
        return true;
      case 'base_begun':
      case 'bases_dropped':
        must(this.#bases.shift(), 'a base began, or was dropped')(message.failure);
        return true;
      case 'checksums_worked':
        must(this.#checksums.shift(), 'checksums were worked on')(
          message.isComplete,
          message.failure,
        );
        return true;
      case 'records_listed':
      case 'records_not_listed':
        must(this.#listings.shift(), 'records were to be listed')(message);
        return true;
      case 'scanned':
      case 'map_extended':
      case 'region_failure':
        must(this.#regionWork.shift(), 'regions were asked for')(message);
        return true;
      default:
        return false;
    }
  }
}
