import { emptyPlace } from '../../history/snapshot-read.ts';
import { scratchSlab } from '../../journal/receive-slab.ts';
import { recordHeaderBytes, recordType } from '../../journal/record.ts';
import { JnbdError } from '../../platform/errors.ts';
import { blockBytes } from '../../platform/limits.ts';
import { BlockTable } from '../../volume/block-table.ts';
import { checkTakesRecords } from '../apply/own-record.ts';
import type { Volume } from '../apply/volume.ts';
import { areaName } from '../catalog/snapshots.ts';
import type { Group } from '../order/group.ts';

const waitMilliseconds = 20;

/**
 * Gives blocks of a group's primary what they should hold, by records, as everything is written: so that followers,
 * which have it already, agree. What is given is at most 256 KiB and begins with a block. Rejects with JnbdError:
 * state_refuses, journal_failed.
 */
export class Repair {
  readonly #group: Group;
  /** By which both sides were compared. */
  readonly #number: number;

  constructor(group: Group, number: number) {
    this.#group = group;
    this.#number = number;
  }

  /**
   * Blocks of a volume that hosts did not write since. They are not preserved: what is given is what all snapshots
   * that look in the volume should have had. Resolves with how many bytes were written.
   */
  async writeVolume(
    volume: Volume,
    offset: number,
    contents: Uint8Array,
    checkWanted: () => void,
  ): Promise<number> {
    await this.#admitted(contents.length, checkWanted);
    const group = this.#group;
    const blocks = group.snapshots.blocks(this.#number, volume);
    const place = emptyPlace();
    const end = offset + contents.length;
    let written = 0;
    // In one turn, so that no host writes in between.
    for (let at = offset; at < end; ) {
      blocks.find(Math.floor(at / blockBytes), Math.ceil(end / blockBytes), place);
      const stop = Math.min(end, place.end * blockBytes);
      if (place.isLive) {
        this.#stamp(volume.catalog.id, at, contents.subarray(at - offset, stop - offset));
        written += stop - at;
      }
      at = stop;
    }
    this.#commit();
    return written;
  }

  /** Blocks of a snapshot that users made: they are in its own area from then on, wherever they were looked for. */
  async writeSnapshot(
    number: number,
    volume: number,
    offset: number,
    contents: Uint8Array,
    checkWanted: () => void,
  ): Promise<number> {
    await this.#admitted(contents.length, checkWanted);
    const { snapshots, volumes } = this.#group;
    const snapshot = snapshots.living.find((each) => each.number === number);
    const area = snapshot?.areas.find((each) => each.volume === volume)?.area;
    if (area === undefined || !volumes.has(areaName(area))) return 0;
    const whole = Buffer.alloc(Math.ceil(contents.length / blockBytes) * blockBytes);
    whole.set(contents);
    this.#stamp(area, offset, whole);
    snapshots.received(area, offset, whole.length);
    this.#commit();
    return contents.length;
  }

  /** What was written is durable. */
  async durable(): Promise<void> {
    const { watermarks, journal, clock } = this.#group;
    const through = watermarks.newest;
    while (watermarks.durable < through) {
      this.#checkJournal();
      journal.requestDurable();
      await new Promise<void>((resolve) => clock.after(waitMilliseconds, resolve));
    }
  }

  async #admitted(bytes: number, checkWanted: () => void): Promise<void> {
    const { clock } = this.#group;
    while (!this.#admits(2 * bytes)) {
      checkWanted();
      await new Promise<void>((resolve) => clock.after(waitMilliseconds, resolve));
    }
    checkTakesRecords(this.#group);
  }

  #admits(bytes: number): boolean {
    const { journal, chain, index, replies, hosts } = this.#group;
    const nodes = BlockTable.nodesFor(bytes, true);
    const sequence = chain.current.header.sequence + 1;
    if (hosts.isHeld || !journal.admits(bytes) || !replies.admits(bytes, chain)) return false;
    return index.admits(nodes, sequence);
  }

  #stamp(volume: number, offset: number, contents: Uint8Array): void {
    const { journal, index, replies } = this.#group;
    const { length } = contents;
    const slab = scratchSlab(recordHeaderBytes + length);
    slab.bytes.set(contents, recordHeaderBytes);
    const { write } = recordType;
    const number = journal.stamp(slab, 0, recordHeaderBytes, write, volume, offset, length);
    replies.stamped(number, volume, offset, length, recordHeaderBytes + length);
    const { segment, payloadOffset } = journal.place;
    const { sequence } = segment.header;
    index.active.insertData(volume, offset, length, number, sequence, payloadOffset);
  }

  #commit(): void {
    this.#group.journal.commitRun();
    this.#group.appended();
    this.#checkJournal();
  }

  #checkJournal(): void {
    const { state, failureText } = this.#group;
    if (state !== 'normal') throw new JnbdError('journal_failed', failureText);
  }
}
