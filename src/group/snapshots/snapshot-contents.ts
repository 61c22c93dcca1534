import { emptyPlace, SnapshotReader, type SnapshotBlocks } from '../../history/snapshot-read.ts';
import { InvariantError } from '../../platform/assert.ts';
import type { Clock } from '../../platform/clock.ts';
import { JnbdError, messageOf } from '../../platform/errors.ts';
import { blockBytes } from '../../platform/limits.ts';
import { hashPieceBytes, hashPieces, UnitHashes } from '../../volume/unit-hashes.ts';
import { extentState, type VolumeExtents } from '../../volume/volume-extents.ts';
import type { VolumeReader } from '../../volume/volume-read.ts';
import type { Volume } from '../apply/volume.ts';
import { areaName } from '../catalog/snapshots.ts';
import type { SnapshotRecords } from './snapshot-records.ts';

/** What is asked of the group whose snapshots are looked at. */
export interface SnapshotContentsGroup {
  readonly name: string;
  readonly state: string;
  readonly clock: Clock;
  readonly volumes: ReadonlyMap<string, Volume>;
  readonly reader: VolumeReader;
  readonly extents: VolumeExtents;
  readonly snapshots: SnapshotRecords;
  readonly catalog: { readonly number: number };
}

/** Between two looks whether files are there. */
const waitMilliseconds = 20;

/** Before each piece: others have their turn, and what is read counts. */
export type ReadTurn = (bytes: number) => Promise<void>;

/**
 * One volume as a snapshot has it, as a host would read it: through the journal, areas and their maps. Rejects, as
 * everything here, with JnbdError: snapshot_not_found, state_refuses, volume_abnormal, volume_unreadable.
 */
export class SnapshotContents {
  readonly dataBytes: number;
  readonly #group: SnapshotContentsGroup;
  readonly #number: number;
  readonly #volume: Volume;
  readonly #blocks: SnapshotBlocks;
  readonly #reader: SnapshotReader;
  readonly #place = emptyPlace();

  private constructor(
    group: SnapshotContentsGroup,
    number: number,
    volume: Volume,
    dataBytes: number,
  ) {
    this.#group = group;
    this.#number = number;
    this.#volume = volume;
    this.dataBytes = dataBytes;
    this.#blocks = group.snapshots.blocks(number, volume);
    this.#reader = new SnapshotReader(group.reader);
  }

  /** `snapshot_not_found`: it has not come here yet. `state_refuses`: it is gone, or does not have the volume. */
  static find(group: SnapshotContentsGroup, number: number, volumeId: number): SnapshotContents {
    if (number > group.catalog.number) {
      const text = `the snapshot of update ${number} of group ${group.name} has not come here yet`;
      throw new JnbdError('snapshot_not_found', text);
    }
    const snapshot = group.snapshots.living.find((each) => each.number === number);
    const areaId = snapshot?.areas.find(({ volume }) => volume === volumeId)?.area;
    const area = areaId === undefined ? undefined : group.volumes.get(areaName(areaId));
    const volume = [...group.volumes.values()].find(({ catalog }) => catalog.id === volumeId);
    if (!area || !volume) {
      const text = `there is no snapshot of update ${number} of volume ${volumeId} of group ${group.name} any more`;
      throw new JnbdError('state_refuses', text);
    }
    for (const { state, failure, catalog } of [volume, area]) {
      if (state === 'normal') continue;
      const text = `volume ${group.name}/${catalog.name} is ${state}: ${failure}`;
      throw new JnbdError('volume_abnormal', text);
    }
    return new SnapshotContents(group, number, volume, area.catalog.preserves?.dataBytes ?? 0);
  }

  /** Where zeroes from `at` on end, `end` at most, as far as that is known without reading; `at`: they may not begin. */
  zeroesThrough(at: number, end: number): number {
    const place = this.#place;
    let told = at;
    try {
      while (told < end) {
        const before = told;
        this.#blocks.find(Math.floor(told / blockBytes), Math.ceil(end / blockBytes), place);
        const stop = Math.min(end, place.end * blockBytes);
        const { file, volume } = place;
        if (!file) return told;
        let isZero = true;
        this.#group.extents.list(volume, file, stop, told, stop - told, (length, state) => {
          isZero = state !== extentState.data;
          if (isZero) told = Math.min(stop, told + length);
          return isZero && told < stop;
        });
        // It may have looked at less than it was asked for.
        if (!isZero || told === before) return told;
      }
      return told;
    } catch (error) {
      throw this.#unreadable(error);
    }
  }

  async read(offset: number, length: number, bytes: Buffer): Promise<void> {
    await this.#complete();
    await new Promise<void>((resolve, reject) => {
      const owner = {
        readCompleted: (_token: number, failure: Error | null): void => {
          if (failure) reject(this.#unreadable(failure));
          else resolve();
        },
      };
      try {
        const result = this.#reader.read(this.#blocks, offset, length, bytes, 0, owner, 0);
        if (result === 'done') resolve();
      } catch (error) {
        reject(this.#unreadable(error));
      }
    });
  }

  /** Of [offset, end), in units; `offset` is the beginning of one. */
  async hashes(
    offset: number,
    end: number,
    unitBytes: number,
    turn: ReadTurn,
  ): Promise<Uint8Array> {
    const hashes = new UnitHashes(end - offset, unitBytes);
    const buffer = Buffer.allocUnsafe(Math.min(hashPieceBytes, end - offset));
    const file = {
      nextDataSync: (position: number): number => this.zeroesThrough(position, end),
    };
    await this.#complete();
    for (const piece of hashPieces(file, offset, end)) {
      if (piece.isHole) {
        hashes.addZeroes(piece.length);
        continue;
      }
      await turn(piece.length);
      await this.read(piece.offset, piece.length, buffer);
      hashes.add(buffer.subarray(0, piece.length));
      // The next piece is looked for in the turn in which this resolves.
      await this.#complete();
    }
    return hashes.bytes;
  }

  /** All files are there: those of a later snapshot, whose record came just now, are made once it is durable. */
  async #complete(): Promise<void> {
    const { clock, snapshots } = this.#group;
    this.#checkOpen();
    while (!snapshots.isComplete(this.#number, this.#volume.catalog.id)) {
      await new Promise<void>((resolve) => clock.after(waitMilliseconds, resolve));
      this.#checkOpen();
    }
  }

  #checkOpen(): void {
    const { state, name } = this.#group;
    if (state === 'normal') return;
    throw new JnbdError('group_state', `group ${name} is ${state}`);
  }

  #unreadable(error: unknown): Error {
    if (error instanceof InvariantError || error instanceof JnbdError) return error;
    const { name, snapshots } = this.#group;
    const what = `volume ${name}/${this.#volume.catalog.name} as of update ${this.#number}`;
    if (!snapshots.living.some(({ number }) => number === this.#number))
      return new JnbdError('state_refuses', `${what} is there no more: its snapshot was deleted`);
    return new JnbdError('volume_unreadable', `${what} cannot be read: ${messageOf(error)}`);
  }
}
