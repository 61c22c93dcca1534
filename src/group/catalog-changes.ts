import type { Journal } from '../journal/journal.ts';
import { scratchSlab } from '../journal/receive-slab.ts';
import { recordHeaderBytes, recordType } from '../journal/record.ts';
import { must } from '../platform/assert.ts';
import type { Disk } from '../platform/disk.ts';
import { JnbdError, messageOf } from '../platform/errors.ts';
import type { BlockIndex } from '../volume/block-index.ts';
import type { Catalog, CatalogChange } from './catalog.ts';
import { changeCatalog, encodeChange, writeCatalog } from './catalog.ts';

interface PendingChange {
  readonly number: number;
  readonly change: CatalogChange;
  readonly done: () => void;
  readonly failed: (error: Error) => void;
}

/**
 * The catalog and its changes on their way through the journal: appended, durable, then in the file.
 * A crash between the last two: recovery finds the record and does the rest.
 */
export class CatalogChanges {
  readonly #disk: Disk;
  readonly #path: string;
  readonly #pending: PendingChange[] = [];
  #catalog: Catalog;

  constructor(disk: Disk, path: string, catalog: Catalog) {
    this.#disk = disk;
    this.#path = path;
    this.#catalog = catalog;
  }

  get catalog(): Catalog {
    return this.#catalog;
  }

  static recordBytes(change: CatalogChange): number {
    return recordHeaderBytes + encodeChange(change).length;
  }

  /** Resolves when the change is in the catalog file. Journal and index have admitted its record. */
  append(journal: Journal, index: BlockIndex, change: CatalogChange): Promise<void> {
    const payload = encodeChange(change);
    const slab = scratchSlab(recordHeaderBytes + payload.length);
    slab.bytes.set(payload, recordHeaderBytes);
    return new Promise<void>((done, failed) => {
      const { catalog } = recordType;
      const number = journal.stamp(slab, 0, recordHeaderBytes, catalog, 0, 0, payload.length);
      const { segment, payloadOffset } = journal.place;
      index.active.note(number, segment.header.sequence, payloadOffset + payload.length);
      this.#pending.push({ number, change, done, failed });
      if (journal.commitRun()) journal.requestDurable();
    });
  }

  durableAdvanced(durable: number): void {
    while ((this.#pending[0]?.number ?? Number.POSITIVE_INFINITY) <= durable) this.#finish();
  }

  fail(error: Error): void {
    for (const pending of this.#pending.splice(0)) pending.failed(error);
  }

  /** For settings of this system alone, which are not in the journal. */
  replace(catalog: Catalog): void {
    writeCatalog(this.#disk, this.#path, catalog);
    this.#catalog = catalog;
  }

  #finish(): void {
    const pending = must(this.#pending.shift(), 'a change is pending');
    const catalog = changeCatalog(this.#catalog, pending.change, pending.number);
    // The record is durable: the change holds whatever becomes of the file, which the next start
    // brings up to it.
    this.#catalog = catalog;
    try {
      writeCatalog(this.#disk, this.#path, catalog);
      pending.done();
    } catch (error) {
      pending.failed(
        new JnbdError('write_failed', `cannot replace ${this.#path}: ${messageOf(error)}`, {
          cause: error,
        }),
      );
    }
  }
}
