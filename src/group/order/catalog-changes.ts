import type { Journal } from '../../journal/journal.ts';
import { recordType } from '../../journal/record.ts';
import { must } from '../../platform/assert.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import type { Disk } from '../../platform/disk.ts';
import { messageOf } from '../../platform/errors.ts';
import type { BlockIndex } from '../../volume/block-index.ts';
import { ownRecordBytes, stampOwnRecord } from '../apply/own-record.ts';
import type { Catalog, CatalogChange } from '../catalog/catalog.ts';
import { changeCatalog, encodeChange, writeCatalog } from '../catalog/catalog.ts';
import { closedGroup } from '../catalog/closed-group.ts';
import type { Conditions } from '../catalog/conditions.ts';
import { extendLineage, generationOf, type Stretch } from '../catalog/lineage.ts';

interface PendingChange {
  readonly number: number;
  readonly change: CatalogChange;
  readonly prepare: () => void;
  readonly done: () => void;
  readonly failed: (error: Error) => void;
}

export interface CatalogChangesOwner {
  /** The catalog is another one, or its file has all of it again. */
  changed(): void;
  /** Changes hold that were durable before, and could not be made to. */
  settled(): void;
}

const retryMilliseconds = 1000;

/**
 * The catalog and its changes on their way through the journal: appended, durable, then in the file.
 * A crash between the last two: recovery finds the record and does the rest. So it is when the file
 * cannot be replaced: the change holds, no checkpoint passes its record, and the file follows later.
 */
export class CatalogChanges {
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #conditions: Conditions;
  readonly #path: string;
  readonly #owner: CatalogChangesOwner;
  readonly #pending: PendingChange[] = [];
  #catalog: Catalog;
  #durable = 0;
  #retry: Timer | undefined;
  #isFinishing = false;
  #isClosing = false;
  #isStopped = false;
  #lastInTurn: Promise<void> = Promise.resolve();

  constructor(
    deps: { readonly disk: Disk; readonly clock: Clock },
    conditions: Conditions,
    path: string,
    catalog: Catalog,
    owner: CatalogChangesOwner,
  ) {
    this.#disk = deps.disk;
    this.#clock = deps.clock;
    this.#conditions = conditions;
    this.#path = path;
    this.#catalog = catalog;
    this.#owner = owner;
  }

  /** The file lacks changes that are durable in the journal. */
  get isFileBehind(): boolean {
    return this.#retry !== undefined;
  }

  /** Up to where changes hold, of those that are durable. */
  settledThrough(durable: number): number {
    const [first] = this.#pending;
    return first && first.number <= durable ? first.number - 1 : durable;
  }

  /** No change of the catalog that is not durable stands there, of what was appended. */
  unchangedThrough(appended: number): number {
    const [first] = this.#pending;
    return first ? Math.min(appended, first.number - 1) : appended;
  }

  get catalog(): Catalog {
    return this.#catalog;
  }

  static recordBytes(change: CatalogChange): number {
    return ownRecordBytes(encodeChange(change));
  }

  /** Resolves when the change holds. Journal and index have admitted its record. */
  append(journal: Journal, index: BlockIndex, change: CatalogChange): Promise<void> {
    const payload = encodeChange(change);
    return new Promise<void>((done, failed) => {
      const number = stampOwnRecord(journal, index, recordType.catalog, payload);
      this.#pending.push({ number, change, prepare: () => undefined, done, failed });
      if (journal.commitRun()) journal.requestDurable();
    });
  }

  /**
   * A change that came as a record from the group's source. `prepare` makes what has to be there before
   * the file says so, and is tried again where it throws; `done` is called once the change holds.
   */
  received(number: number, change: CatalogChange, prepare: () => void, done: () => void): void {
    this.#pending.push({ number, change, prepare, done, failed: () => undefined });
  }

  /** One after the other: names and ids are looked at before a change and used after it. */
  inTurn<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#lastInTurn.then(run);
    this.#lastInTurn = result.then(
      () => {},
      () => {},
    );
    return result;
  }

  durableAdvanced(durable: number): void {
    this.#durable = durable;
    if (this.#isFinishing) return;
    while ((this.#pending[0]?.number ?? Number.POSITIVE_INFINITY) <= this.#durable) {
      if (!this.#finish()) return;
    }
  }

  fail(error: Error): void {
    // What is durable will hold: what stands behind it waits for that.
    const lost = this.#pending.findIndex(({ number }) => number > this.#durable);
    if (lost < 0) return;
    for (const pending of this.#pending.splice(lost)) pending.failed(error);
  }

  /** For settings of this system alone, which are not in the journal. Throws group_state, system errors. */
  replace(catalog: Catalog): void {
    if (this.#isClosing) throw closedGroup(this.#path);
    writeCatalog(this.#disk, this.#path, catalog);
    this.#catalog = catalog;
    this.#fileFollowed();
  }

  /** Holds at once; where the file cannot be replaced it follows later. */
  replaceSoon(catalog: Catalog): void {
    this.#catalog = catalog;
    this.#writeFile();
  }

  /**
   * Where the file cannot be replaced it follows later: until it did, nobody is told of what is numbered
   * from here on, so nobody misses the stretch after a crash.
   */
  extendLineage(stretch: Stretch): void {
    const lineage = extendLineage(this.#catalog.lineage, stretch);
    this.#catalog = { ...this.#catalog, lineage };
    this.#writeFile();
  }

  /** A stretch that the group's source began. Durable when it returns; throws system errors. */
  adoptStretch(stretch: Stretch): void {
    const before = this.#catalog.lineage;
    const lineage = extendLineage(before, stretch);
    const isSettled = stretch.generation > generationOf(before);
    const { handedOver } = this.#catalog;
    this.replace({
      ...this.#catalog,
      lineage,
      handedOver: isSettled ? undefined : handedOver,
    });
  }

  /** The group is being closed: only what becomes durable in the journal meanwhile still changes the file. */
  close(): void {
    this.#isClosing = true;
  }

  /** It is closed, and the file another opening's. */
  stop(): void {
    this.#isStopped = true;
    this.#retry?.cancel();
  }

  /** False: later. */
  #finish(): boolean {
    const pending = must(this.#pending[0], 'a change is pending');
    try {
      pending.prepare();
    } catch (error) {
      this.#tryLater(messageOf(error), () => {
        this.durableAdvanced(this.#durable);
        this.#owner.settled();
      });
      return false;
    }
    this.#isFinishing = true;
    try {
      this.#catalog = changeCatalog(this.#catalog, pending.change, pending.number);
      this.#writeFile();
      pending.done();
    } finally {
      // Now it holds, and nothing that counts on it goes on before.
      this.#pending.shift();
      this.#isFinishing = false;
    }
    return true;
  }

  #writeFile(): void {
    if (this.#isStopped) return;
    try {
      writeCatalog(this.#disk, this.#path, this.#catalog);
      this.#fileFollowed();
    } catch (error) {
      this.#tryLater(`cannot replace ${this.#path}: ${messageOf(error)}`, () => this.#writeFile());
    }
  }

  #tryLater(why: string, run: () => void): void {
    this.#conditions.raise(this.#catalog.name, {
      code: 'catalog_behind',
      severity: 'error',
      message: `${why}; it is tried again every second`,
      nextCommand: `df ${this.#path}`,
    });
    this.#retry?.cancel();
    this.#retry = this.#clock.after(retryMilliseconds, run);
  }

  #fileFollowed(): void {
    this.#retry?.cancel();
    this.#retry = undefined;
    this.#conditions.clear(
      this.#catalog.name,
      'catalog_behind',
      `${this.#path} has every change that is durable in the journal`,
    );
    this.#owner.changed();
  }
}
