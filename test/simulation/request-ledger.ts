import { KiB } from '../../src/platform/limits.ts';
import type { HostRequest } from './simulated-host.ts';
import type { RecordKind } from './group-model.ts';

/** A host's write on its way into the journal. */
export interface LedgerEntry {
  /** With the group's id, which volume. */
  readonly group: string;
  readonly volume: number;
  readonly kind: RecordKind;
  readonly offset: number;
  readonly length: number;
  readonly payload: Uint8Array | undefined;
  readonly request: HostRequest;
  /** Bytes of it that records were seen for. */
  recordedBytes: number;
  /** Number of the last of its records; 0 while there is none. */
  lastNumber: number;
}

/** Where snapshots need what is cleared, that is cut at multiples of this. */
const clearedUnitBytes = 256 * KiB;

function isPartOf({ length: whole, recordedBytes }: LedgerEntry, offset: number, length: number) {
  const isLast = recordedBytes > 0 && recordedBytes + length === whole;
  return isLast || (offset + length) % clearedUnitBytes === 0;
}

function isSame(one: LedgerEntry, other: LedgerEntry): boolean {
  return (
    one.group === other.group &&
    one.volume === other.volume &&
    one.kind === other.kind &&
    one.offset === other.offset &&
    one.length === other.length
  );
}

/** What hosts asked for and records may be made of: a record is nobody's only where the engine errs. */
export class RequestLedger {
  readonly #entries = new Map<HostRequest, LedgerEntry>();
  /** Contents that are being imported. */
  readonly imports = new Set<Buffer>();

  add(entry: LedgerEntry): void {
    this.#entries.set(entry.request, entry);
  }

  /** The entry of a request that was answered. Records of it may no longer come. */
  take(request: HostRequest): LedgerEntry | undefined {
    const entry = this.#entries.get(request);
    this.#entries.delete(request);
    // What failed may have been recorded in part.
    const isPartly = entry !== undefined && entry.recordedBytes < entry.length;
    if (isPartly && request.errno === 0 && entry.payload === undefined) this.#exchange(entry);
    return entry;
  }

  /** Of two requests whose rest is the same, nobody can say whose records these were. */
  #exchange(entry: LedgerEntry): void {
    const at = entry.offset + entry.recordedBytes;
    for (const other of this.#entries.values()) {
      const isLike =
        other.group === entry.group && other.volume === entry.volume && other.kind === entry.kind;
      const isToSameEnd = other.offset + other.length === entry.offset + entry.length;
      const further = other.offset + other.recordedBytes;
      if (!isLike || !isToSameEnd || further <= at || other.offset > at) continue;
      const { lastNumber } = entry;
      entry.recordedBytes = further - entry.offset;
      entry.lastNumber = other.lastNumber;
      other.recordedBytes = at - other.offset;
      other.lastNumber = lastNumber;
      return;
    }
  }

  /** What the answer to `entry` promises at least: of two requests that ask for the same, the other one may have waited. */
  #claimed(entry: LedgerEntry, number: number): number {
    for (const other of this.#entries.values()) {
      if (other !== entry && isSame(other, entry) && other.lastNumber > 0) return other.lastNumber;
    }
    return number;
  }

  get(request: HostRequest): LedgerEntry | undefined {
    return this.#entries.get(request);
  }

  /** What no record was seen of yet. */
  *unrecorded(group: string): Generator<LedgerEntry> {
    for (const entry of this.#entries.values()) {
      if (entry.group === group && entry.recordedBytes < entry.length) yield entry;
    }
  }

  /** The process died: nothing more comes of what it was asked. */
  clear(): void {
    this.#entries.clear();
    this.imports.clear();
  }

  /**
   * Finds the request that a record was made of, and takes note. Returns its bytes, so that they are
   * kept once; `undefined`: nobody asked for this.
   */
  record(
    number: number,
    group: string,
    volume: number,
    kind: RecordKind,
    offset: number,
    length: number,
    payload: Uint8Array,
    hasSnapshots = false,
  ): { readonly payload: Uint8Array | undefined } | undefined {
    for (const entry of this.#entries.values()) {
      const { recordedBytes } = entry;
      if (entry.group !== group) continue;
      if (entry.volume !== volume || entry.kind !== kind) continue;
      if (entry.offset + recordedBytes !== offset || recordedBytes + length > entry.length)
        continue;
      const isPart = hasSnapshots && isPartOf(entry, offset, length);
      if (entry.payload === undefined && length !== entry.length && !isPart) continue;
      const own = entry.payload?.subarray(recordedBytes, recordedBytes + length);
      if (own && Buffer.compare(own, payload) !== 0) continue;
      if (recordedBytes === entry.length && entry.lastNumber > 0) continue;
      entry.recordedBytes += length;
      entry.lastNumber = own ? number : this.#claimed(entry, number);
      return { payload: own };
    }
    for (const contents of this.imports) {
      if (kind !== 'write' || offset + length > contents.length) continue;
      const own = contents.subarray(offset, offset + length);
      if (own.equals(payload)) return { payload: own };
    }
    return undefined;
  }
}
