import { type CutRecord, encodeCutRecord } from '../../journal/cut-record.ts';
import type { Journal } from '../../journal/journal.ts';
import { recordType } from '../../journal/record.ts';
import { assert } from '../../platform/assert.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Disk } from '../../platform/disk.ts';
import { JnbdError } from '../../platform/errors.ts';
import {
  admitsRecord,
  checkTakesRecords,
  ownRecordBytes,
  stampOwnRecord,
} from '../apply/own-record.ts';
import { areSameMarkers } from '../catalog/catalog-markers.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { FollowState } from '../catalog/follow-file.ts';
import type { CutRecords } from './cut-records.ts';
import { type HeldGroup, HeldTable } from './held-table.ts';

/** What cuts need of the group. */
interface CutGroup extends HeldGroup {
  readonly role: string;
  readonly failureText: string;
  readonly refusesWrites: boolean;
  readonly clock: Clock;
  readonly journal: Journal;
  readonly catalog: Catalog;
  readonly follow: { readonly state: FollowState | undefined };
  readonly hosts: { wake(): void };
  readonly changes: HeldGroup['changes'] & {
    readonly isFileBehind: boolean;
    replaceSoon(catalog: Catalog): void;
  };
}

export interface AppendedRecord {
  readonly number: number;
  /** Rejects with JnbdError: journal_failed, shutting_down. */
  readonly durable: Promise<void>;
}

interface PendingRecord {
  readonly number: number;
  readonly done: () => void;
  readonly failed: (error: Error) => void;
}

const roomMilliseconds = 1;

/**
 * A group as a part of cuts over several systems: markers and commits on their way into its journal, which
 * of them are there, and, where it is a secondary, how far it may apply (SAFETY 27).
 */
export class GroupCuts {
  readonly records: CutRecords;
  readonly #group: CutGroup;
  readonly #systemId: number;
  readonly #pending: PendingRecord[] = [];
  readonly #heldTable: HeldTable;
  /** Nothing behind it is applied; undefined: no cut holds anything back. */
  #applyHold: number | undefined;
  /** Which cut moves it; empty: that is not known yet. */
  #holdingCut = '';
  #isApplyingAll = false;
  #isIndexFull = false;
  #needsMore = false;

  /** Where the catalog says that apply is held, nothing is applied until somebody says how far it may go. */
  constructor(
    deps: { readonly disk: Disk; readonly clock: Clock; readonly systemId: number },
    group: CutGroup,
    records: CutRecords,
  ) {
    this.#group = group;
    this.#systemId = deps.systemId;
    this.records = records;
    this.#heldTable = new HeldTable(
      deps,
      group,
      () => this.applyLimit,
      () => this.#isIndexFull,
    );
    if (group.catalog.holdsApply === true) this.#applyHold = group.watermarks.applied;
  }

  // --- records of a primary

  /**
   * Resolves once the record is numbered and appended. `numbering` is called in the turn in which it is numbered,
   * right before: what it throws is what this rejects with. Rejects with JnbdError: state_refuses, journal_full
   * where there is no room for so long. `behind` is numbered right behind it, in the same turn.
   */
  async append(
    record: CutRecord,
    limitMilliseconds: number,
    numbering: (number: number) => void,
    behind?: { readonly recordBytes: number; stamp(): void },
  ): Promise<AppendedRecord> {
    const payload = encodeCutRecord(record);
    const bytes = ownRecordBytes(payload) + (behind?.recordBytes ?? 0);
    await this.#waitForRoom(bytes, limitMilliseconds);
    const { journal, index, watermarks } = this.#group;
    const next = watermarks.newest + 1;
    numbering(next);
    const number = stampOwnRecord(journal, index, recordType[record.kind], payload);
    assert(number === next, `record of a cut: ${number} was ${next}`);
    this.records.add(number, record, watermarks.released);
    const durable = new Promise<void>((done, failed) => {
      this.#pending.push({ number, done, failed });
    });
    behind?.stamp();
    // Hosts are held: this thread has to hear that they may go on.
    if (journal.commitRun()) journal.requestDurableElsewhere();
    return { number, durable };
  }

  async #waitForRoom(bytes: number, limitMilliseconds: number): Promise<void> {
    const group = this.#group;
    const { clock } = group;
    const deadline = clock.monotonicMilliseconds() + limitMilliseconds;
    for (;;) {
      checkTakesRecords(group);
      if (admitsRecord(group, bytes)) return;
      if (clock.monotonicMilliseconds() >= deadline) {
        const text = `the journal of group ${group.name} had no room for ${limitMilliseconds} ms`;
        throw new JnbdError('journal_full', text);
      }
      await new Promise<void>((resolve) => clock.after(roomMilliseconds, resolve));
    }
  }

  /** No marker or commit that is not durable stands there, of what was appended. */
  unmarkedThrough(appended: number): number {
    const [first] = this.#pending;
    return first ? Math.min(appended, first.number - 1) : appended;
  }

  durableAdvanced(durable: number): void {
    while ((this.#pending[0]?.number ?? Number.POSITIVE_INFINITY) <= durable) {
      const pending = this.#pending.shift();
      pending?.done();
    }
  }

  close(text: string): void {
    this.#heldTable.close();
    this.fail(new JnbdError('shutting_down', text));
  }

  /** What is not durable yet will not be, or nobody will say so. */
  fail(error: Error): void {
    for (const { failed } of this.#pending.splice(0)) failed(error);
  }

  // --- records of a secondary

  /** It was appended, and is in the index. */
  received(number: number, record: CutRecord): void {
    this.records.add(number, record, this.#group.watermarks.released);
    // Apply takes what is in the index in parts, and goes no further than one ends.
    const isBoundary = record.kind === 'marker' && this.applyLimit !== Number.POSITIVE_INFINITY;
    if (isBoundary) this.#group.index.freeze();
  }

  /**
   * Whether more may be received, where the index has room or not. What is held back may fill it, and then goes
   * beyond its bound until a committed marker has come: from there on the next target makes room.
   */
  admitsReceived(hasRoom: boolean): boolean {
    const limit = this.applyLimit;
    if (limit === Number.POSITIVE_INFINITY) {
      this.#isIndexFull = false;
      return hasRoom;
    }
    const { index, watermarks } = this.#group;
    const isFull = !hasRoom || index.isPastBound;
    const newest = this.records.newestCommitted(this.#holdingCut, watermarks.durable);
    this.#isIndexFull = isFull && newest > limit && !this.#needsMore;
    return !this.#isIndexFull;
  }

  /** Whether a later marker is needed than those that it has: it goes beyond the bound until it has that. */
  passBound(isNeeded: boolean): void {
    this.#needsMore = isNeeded;
    if (isNeeded && this.#isIndexFull) this.#group.hosts.wake();
  }

  /** Nothing is received, until what a cut holds back is less. */
  get isIndexFull(): boolean {
    return this.#isIndexFull && this.applyLimit !== Number.POSITIVE_INFINITY;
  }

  // --- how far a secondary applies

  /**
   * Nothing behind `number` is applied from now on, until the cut says otherwise; undefined lifts that. After a
   * restart what is not applied yet is held until this is called again.
   */
  holdApplyAt(number: number | undefined, cutId = ''): void {
    const { catalog, changes, role } = this.#group;
    this.#applyHold = role === 'secondary' ? number : undefined;
    this.#holdingCut = cutId;
    const holdsApply = this.#applyHold !== undefined;
    if ((catalog.holdsApply ?? false) !== holdsApply)
      changes.replaceSoon({ ...catalog, holdsApply });
    if (holdsApply) this.#heldTable.watch();
    this.#group.appended();
  }

  /**
   * Infinite while no cut holds anything back: also while volumes are of no one instant, which what is
   * held would only prolong, and once the group was handed over to this system.
   */
  get applyLimit(): number {
    if (this.#applyHold === undefined || this.#isApplyingAll) return Number.POSITIVE_INFINITY;
    const { role, catalog, follow } = this.#group;
    const isHeir = catalog.handedOver?.to === this.#systemId;
    const { copies = [], resync, shows = 0 } = follow.state ?? {};
    if (role !== 'secondary' || isHeir || resync || copies.length > 0)
      return Number.POSITIVE_INFINITY;
    return Math.max(this.#applyHold, shows);
  }

  /** Somebody waits until this is applied, where all that is here may not be. */
  applyThrough(number: number): void {
    this.#heldTable.endAt(number);
  }

  /** What it has is about to be left behind by something else than records: all of it is applied. */
  async applyingAll<T>(run: () => Promise<T>): Promise<T> {
    this.#isApplyingAll = true;
    try {
      return await run();
    } finally {
      this.#isApplyingAll = false;
    }
  }

  /** Whether a checkpoint may say `applied`, behind which recovery finds markers: the catalog has those before. */
  areKeptThrough(applied: number): boolean {
    const { catalog, changes, watermarks } = this.#group;
    const markers = this.records.through(applied, watermarks.durable);
    if (!areSameMarkers(catalog.markers, markers)) changes.replaceSoon({ ...catalog, markers });
    return !changes.isFileBehind;
  }
}
