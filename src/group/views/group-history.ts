import { readFrom } from '../../history/bases.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import type { Disk } from '../../platform/disk.ts';
import { JnbdError, messageOf, refusedBySystem, systemErrorCode } from '../../platform/errors.ts';
import type { FromApply } from '../../volume/apply-messages.ts';
import type { Preserving } from '../../volume/preserved-blocks.ts';
import { dirtyMapOwner } from '../catalog/dirty-map-files.ts';
import type { GroupFiles } from '../catalog/group-files.ts';
import { sealedJson } from '../catalog/sealed-json.ts';
import { BaseBits } from './base-bits.ts';
import { excess } from './history-excess.ts';
import {
  coveredVolumes,
  type HistoryGroup,
  historyOwner,
  type HistoryUsers,
  isIncomplete,
  type KeptBase,
} from './history-group.ts';
import { HistoryNotices } from './history-notices.ts';
import { segmentsPerBase, segmentsSince } from './journal-share.ts';
import { baseBytes, noteRedone, removeBases, type StoredBase } from './stored-bases.ts';

interface Dependencies {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
}

const baseMilliseconds = 10 * 60_000;
const restMilliseconds = 60_000;
const askMillisecondsMax = 90_000;
const tickMilliseconds = 5000;

/**
 * The window of a group's past on this system (SAFETY 30): bases, each of which keeps what apply overwrites from its
 * number on, and the journal behind the oldest. A base begins between two tables of apply. What a crash has done again
 * of the time before it is noted in it, and read from the journal. After a start none begins before all that was
 * found in the journal is applied: until then files may be ahead of what is.
 */
export class GroupHistory {
  readonly #deps: Dependencies;
  readonly #group: HistoryGroup;
  readonly #files: GroupFiles;
  readonly #users: HistoryUsers;
  readonly #notices: HistoryNotices;
  readonly #bases: KeptBase[];
  #open: BaseBits | undefined;
  /** The worker writes a base down, and nothing is applied. */
  #isBeginning = false;
  readonly #asking: ((failure: string | undefined) => void)[] = [];
  /** Files of volumes may have what is behind what is applied, up to here. */
  readonly #foundThrough: number;
  #begunAtMilliseconds: number;
  #restsUntilMilliseconds = 0;
  #timer: Timer | undefined;
  /** Contents come past the journal: no base until the group is opened again. */
  #isOver = false;
  #isClosed = false;

  /** `stored`: what was found when the group was opened, its journal recovered. */
  constructor(
    deps: Dependencies,
    group: HistoryGroup,
    files: GroupFiles,
    stored: readonly StoredBase[],
    users: HistoryUsers,
  ) {
    this.#deps = deps;
    this.#group = group;
    this.#files = files;
    this.#users = users;
    this.#notices = new HistoryNotices(group, deps.event);
    const { released, applied, durable } = group.watermarks;
    this.#foundThrough = durable;
    this.#begunAtMilliseconds = deps.clock.monotonicMilliseconds();
    // One that is ahead of the journal is of a history that was lost.
    const isTrue = (stored.at(-1)?.number ?? 0) <= durable;
    const found = stored.filter((base) => isTrue && readFrom(base) >= released);
    this.#bases = this.#noted(found, applied);
    removeBases(deps.disk, files, this.#bases);
    const newest = this.#bases.at(-1);
    if (newest) this.#open = new BaseBits(deps.disk, newest.directory);
    this.#hold();
  }

  /** None where that cannot be noted: what is saved in them next could not be told from what was saved before. */
  #noted(found: readonly StoredBase[], checkpoint: number): KeptBase[] {
    const { disk } = this.#deps;
    try {
      return found.map((base) => {
        const directory = this.#files.base(base.number);
        const noted = noteRedone(disk, this.#files, base, checkpoint);
        return { ...noted, directory, bytes: baseBytes(disk, directory) };
      });
    } catch (error) {
      if (systemErrorCode(error) === undefined) throw error;
      this.#notices.failed(messageOf(error));
      return [];
    }
  }

  /** Oldest first. */
  get bases(): readonly KeptBase[] {
    return this.#bases;
  }

  /** Of the newest base. */
  get open(): BaseBits | undefined {
    return this.#open;
  }

  /** For the apply worker when it starts. */
  get preserving(): Preserving | undefined {
    return this.#open && { directory: this.#open.directory, volumes: [], isPacked: true };
  }

  /** Where the past that can be shown begins. */
  get from(): number | undefined {
    return this.#bases[0]?.from;
  }

  get bytes(): number {
    return this.#bases.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  start(): void {
    this.#tick();
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#answer('the group is being closed');
  }

  /** The setting is another one. */
  settingChanged(): void {
    this.#restsUntilMilliseconds = 0;
    this.considered();
    this.#trim();
    this.#notices.look(this.#bases);
  }

  /** Somebody looks at the past no more. */
  usersChanged(): void {
    if (!this.#isClosed) this.#trim();
  }

  /** Nothing is being applied, and the next table could be. True: not yet. */
  comesFirst(): boolean {
    if (this.#bases.length === 0 && !this.#isWanted) return false;
    if (!this.#isBeginning && this.#isDue()) this.#begin();
    return this.#isBeginning || !this.#cover();
  }

  /** Up to there nobody but it, if anybody, needs the journal once it is applied. */
  aloneThrough(): number {
    return this.#group.retention.releasable(Infinity, historyOwner);
  }

  /** The worker is told which blocks the newest base has. False: that cannot be read, and history is let go first. */
  #cover(): boolean {
    try {
      const fresh = this.#open?.cover(coveredVolumes(this.#group)) ?? [];
      if (fresh.length > 0) this.#group.driver.requests.coverVolumes(fresh);
      return true;
    } catch (error) {
      const refusal = refusedBySystem(error, 'read_failed', 'which blocks it has is not known');
      if (!refusal) throw error;
      this.#lose(refusal.message);
      // Behind that request: the table that comes next is saved for nobody.
      this.#deps.clock.after(0, () => this.#group.driver.consider());
      return false;
    }
  }

  /** Something was applied, or `released` may have moved. */
  considered(): void {
    const isFirst = this.#bases.length === 0 && this.#isWanted;
    if (this.#isBeginning || !(isFirst || this.#asking.length > 0)) return;
    if (this.#isDue() && this.#group.driver.state === 'idle') this.#begin();
  }

  /** A base begins as soon as one can, at what is applied then. Rejects with state_refuses. */
  async begin(): Promise<void> {
    const failure = await new Promise<string | undefined>((done) => {
      const timer = this.#deps.clock.after(askMillisecondsMax, () => {
        this.#asking.splice(this.#asking.indexOf(answered), 1);
        done('what was found in the journal is not applied yet');
      });
      const answered = (why: string | undefined): void => {
        timer.cancel();
        done(why);
      };
      this.#asking.push(answered);
      this.considered();
    });
    if (failure === undefined) return;
    const text = `group ${this.#group.name} cannot begin to keep what is overwritten: ${failure}`;
    throw new JnbdError('state_refuses', text);
  }

  /** What was to be overwritten could not be saved, and apply waits. The oldest go, where room is what is missing. */
  failed({ code, message }: FromApply & { readonly kind: 'failed' }): void {
    const isRoom = code === 'ENOSPC' || code === 'EDQUOT';
    const some = Math.floor(this.#bases.length / 2);
    if (isRoom && some > 0) {
      this.#dropForRoom(some, message);
      return;
    }
    this.#lose(message);
  }

  #lose(why: string): void {
    this.#rest();
    this.#users.endAll(`what hosts overwrite could not be saved: ${why}`);
    this.#notices.failed(why);
    this.#drop(this.#bases.length);
  }

  /** The journal has no room. False: history is not what keeps it full. */
  giveWay(): boolean {
    const { retention, watermarks } = this.#group;
    const held = retention.get(historyOwner);
    // Dirty maps wait for this one to give way, where it holds part of the segment that they would go over next.
    const lowest = retention.releasable(watermarks.applied, dirtyMapOwner);
    if (held === undefined || lowest < held) return false;
    const count = Math.max(1, Math.floor(this.#bases.length / 2));
    this.#dropForRoom(count, 'the journal is full');
    return true;
  }

  /**
   * Contents are about to change past what apply does: nothing that is kept is of use, and none is there any more
   * when this resolves. Rejects with write_failed.
   */
  async end(reason: string): Promise<void> {
    this.#isOver = true;
    this.#users.endAll(reason);
    this.#answer(reason);
    // One that is beginning is there in a moment.
    while (this.#isBeginning && !this.#isClosed)
      await new Promise<void>((resolve) => this.#deps.clock.after(1, resolve));
    if (this.#bases.length === 0) return;
    const failure = await new Promise<string | undefined>((done) => {
      this.#drop(this.#bases.length, done);
    });
    if (failure === undefined) return;
    throw new JnbdError('write_failed', `cannot remove ${this.#files.history}: ${failure}`);
  }

  get #isWanted(): boolean {
    const { catalog } = this.#group;
    if (this.#isOver || catalog.journalOnly === true) return false;
    return catalog.history !== undefined || this.#asking.length > 0 || this.#users.isNeeded;
  }

  #isDue(): boolean {
    const { watermarks, chain, catalog, state } = this.#group;
    const { applied } = watermarks;
    if (!this.#isWanted || state !== 'normal' || applied < this.#foundThrough) return false;
    const now = this.#deps.clock.monotonicMilliseconds();
    if (isIncomplete(this.#group) || now < this.#restsUntilMilliseconds) return false;
    const newest = this.#bases.at(-1);
    if (!newest || this.#asking.length > 0) return true;
    if (catalog.history === undefined || newest.number === applied) return false;
    if (now - this.#begunAtMilliseconds >= baseMilliseconds) return true;
    return segmentsSince(chain, newest.number, applied) >= segmentsPerBase(chain);
  }

  #begin(): void {
    const { catalog, driver, watermarks } = this.#group;
    const number = watermarks.applied;
    if (this.#bases.at(-1)?.number === number) {
      this.#answer(undefined);
      return;
    }
    const directory = this.#files.base(number);
    const stored: StoredBase = {
      formatVersion: 1,
      number,
      from: Math.max(number, catalog.number),
      atMilliseconds: this.#deps.clock.wallMilliseconds(),
      before: this.#bases.at(-1)?.number ?? 0,
      volumes: catalog.volumes.filter(({ preserves }) => preserves === undefined),
    };
    this.#isBeginning = true;
    const preserving = { directory, volumes: [], isPacked: true };
    driver.requests.beginBase(preserving, sealedJson(stored), (failure) => {
      if (this.#isClosed) return;
      if (failure !== undefined) {
        this.#notices.failed(failure);
        this.#rest();
        this.#answer(failure);
        this.#goOn();
        return;
      }
      this.#begun({ ...stored, directory, bytes: 0 });
    });
  }

  #begun(base: KeptBase): void {
    const before = this.#bases.at(-1);
    if (before) before.bytes = baseBytes(this.#deps.disk, before.directory, before.bytes);
    this.#open = new BaseBits(this.#deps.disk, base.directory);
    if (before) this.#users.baseBegan(this.#open);
    this.#bases.push(base);
    this.#begunAtMilliseconds = this.#deps.clock.monotonicMilliseconds();
    if (!before) this.#hold();
    this.#notices.works();
    this.#goOn();
    this.#trim();
    this.#group.changed();
  }

  #goOn(): void {
    this.#isBeginning = false;
    if (this.#isOver) return;
    this.#answer(undefined);
    this.#group.driver.consider();
  }

  #answer(failure: string | undefined): void {
    for (const done of this.#asking.splice(0)) done(failure);
  }

  #rest(): void {
    this.#restsUntilMilliseconds = this.#deps.clock.monotonicMilliseconds() + restMilliseconds;
  }

  #tick(): void {
    this.#timer = this.#deps.clock.after(tickMilliseconds, () => this.#tick());
    const newest = this.#bases.at(-1);
    if (newest) newest.bytes = baseBytes(this.#deps.disk, newest.directory, newest.bytes);
    this.considered();
    this.#trim();
    this.#notices.look(this.#bases);
  }

  /** Lets go of what the setting does not want, or the journal has no room for, and nobody looks at. */
  #trim(): void {
    if (this.#isOver || this.#bases.length === 0) return;
    const isAsked = this.#users.isWaiting || this.#asking.length > 0;
    const { count, isForJournal } = excess(this.#group, this.#bases, isAsked);
    if (isForJournal) this.#notices.shortened('the journal has no more room');
    this.#drop(Math.min(count, this.#beforeUsers));
  }

  /** How many of the oldest bases no view needs. */
  get #beforeUsers(): number {
    const { oldestBase } = this.#users;
    const needed = this.#bases.findIndex(({ number }) => number >= oldestBase);
    return needed < 0 ? this.#bases.length : needed;
  }

  #dropForRoom(wanted: number, why: string): void {
    this.#notices.shortened(why);
    // Views are history, too (SAFETY 14).
    if (this.#beforeUsers === 0) this.#users.endOldest(why);
    this.#drop(Math.min(wanted, this.#beforeUsers));
  }

  #drop(count: number, done: (failure: string | undefined) => void = () => undefined): void {
    if (count === 0) return;
    const gone = this.#bases.splice(0, count);
    if (this.#bases.length === 0) this.#open = undefined;
    const directories = gone.map(({ directory }) => directory);
    this.#users.basesDropped(directories);
    this.#group.driver.requests.dropBases(directories, (failure) => {
      if (failure !== undefined && !this.#isClosed) this.#notices.notRemoved(failure);
      this.#hold();
      if (!this.#isClosed) this.#group.release();
      done(failure);
    });
  }

  /** Only once what they were for is not there any more. */
  #hold(): void {
    const { retention } = this.#group;
    retention.drop(historyOwner);
    const [oldest] = this.#bases;
    if (oldest) retention.set(historyOwner, readFrom(oldest));
  }
}
