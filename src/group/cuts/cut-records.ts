import type { CutRecord, MarkerRecord } from '../../journal/cut-record.ts';
import { isSameMarker } from '../../journal/cut-record.ts';
import type { CatalogMarker } from '../catalog/catalog-markers.ts';

/**
 * So many of one cut are known at most: nine hours of one a second. Those in the middle are forgotten first: a
 * secondary that was away begins with the oldest, and others of its target list that wait for it go there first.
 */
const markersMax = 32_768;
/** So many cuts have their newest marker in the catalog; of more, those marked last. */
const cutsMax = 64;

/** A marker, and where it stands in the journal. */
export interface KnownMarker extends MarkerRecord {
  readonly number: number;
  /** The number of its commit; undefined while none was seen. */
  readonly committedAt: number | undefined;
}

/**
 * The markers of a group's journal and their commits, as they were numbered, received or found: all that
 * stand behind what is released, and of each cut the newest one before that. Durable or not.
 */
export class CutRecords {
  /** By cut, in the order of their numbers. */
  readonly #markers = new Map<string, KnownMarker[]>();

  /** `kept`: of the catalog; nothing of it is above what the journal is recovered from. */
  constructor(kept: readonly CatalogMarker[] = []) {
    for (const { number, isCommitted, epoch, sequence, ...rest } of kept) {
      const id = { epoch: BigInt(epoch), sequence: BigInt(sequence) };
      const marker = { ...rest, ...id, number, committedAt: isCommitted ? number : undefined };
      this.#markers.set(rest.cutId, [marker]);
    }
  }

  /** In the order of numbers; nothing up to `released` is in the journal any more. */
  add(number: number, record: CutRecord, released: number): void {
    const known = this.#markers.get(record.cutId) ?? [];
    if (record.kind === 'commit') {
      const at = known.findLastIndex((marker) => isSameMarker(marker, record));
      const marker = known[at];
      if (marker) known[at] = { ...marker, committedAt: marker.committedAt ?? number };
      return;
    }
    const { kind: _kind, ...marker } = record;
    known.push({ ...marker, number, committedAt: undefined });
    while ((known[1]?.number ?? released + 1) <= released) known.shift();
    if (known.length > markersMax) known.splice(markersMax / 2, 1);
    this.#markers.set(record.cutId, known);
  }

  /** Of the cut, those up to `durable`, oldest first. */
  list(cutId: string, durable: number): readonly KnownMarker[] {
    const known = this.#markers.get(cutId) ?? [];
    return known.filter(({ number }) => number <= durable);
  }

  /** The number of the newest marker whose commit is durable; 0: none. */
  newestCommitted(cutId: string, durable: number): number {
    const known = this.#markers.get(cutId) ?? [];
    const isCommitted = ({ committedAt = Number.POSITIVE_INFINITY }: KnownMarker): boolean =>
      committedAt <= durable;
    return known.findLast(isCommitted)?.number ?? 0;
  }

  /** The newest committed marker that is called so, or is that one (`EPOCH.SEQUENCE`); undefined: none. */
  named(text: string, durable: number): number | undefined {
    let newest: number | undefined;
    for (const known of this.#markers.values()) {
      const found = known.findLast(
        ({ name, epoch, sequence, committedAt = Number.POSITIVE_INFINITY }) =>
          committedAt <= durable && (name === text || `${epoch}.${sequence}` === text),
      );
      if (found && found.number > (newest ?? 0)) newest = found.number;
    }
    return newest;
  }

  /** Durable or not. */
  newest(cutId: string): KnownMarker | undefined {
    return this.#markers.get(cutId)?.at(-1);
  }

  /** Of each cut the newest marker up to `number`: what the catalog has to have once recovery begins behind it. */
  through(number: number, durable: number): readonly CatalogMarker[] {
    const newest: CatalogMarker[] = [];
    for (const known of this.#markers.values()) {
      const marker = known.findLast((each) => each.number <= number);
      if (!marker) continue;
      const { cutId, epoch, sequence, wallTimeMilliseconds, name, committedAt } = marker;
      newest.push({
        cutId,
        epoch: epoch.toString(),
        sequence: sequence.toString(),
        wallTimeMilliseconds,
        name,
        number: marker.number,
        isCommitted: committedAt !== undefined && committedAt <= durable,
      });
    }
    return newest.sort((a, b) => b.number - a.number).slice(0, cutsMax);
  }
}
