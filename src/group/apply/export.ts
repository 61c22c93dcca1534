import type { ReceiveSlab, ReceiveSlabs } from '../../journal/receive-slab.ts';
import type { JnbdError } from '../../platform/errors.ts';

/**
 * What a door to hosts (NBD) sees of a volume, snapshot or view, and what it must do with it.
 *
 * The path of a write: the door receives into a slab, parses in place, asks `admit`, and then turns
 * the request's own header into the record's header with `stampWrite`. Requests that follow each
 * other in the slab become records that follow each other: a run, handed to the journal by one
 * `commitRun`, before the door does anything else for this chunk (reads, replies, returning).
 */
export interface Export {
  readonly name: string;
  readonly description: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly rotational: boolean;
  /** Why no client may open it now; undefined: clients may, as far as it is for them. */
  refusal(): JnbdError | undefined;
  /** Throws `refusal`, and JnbdError (volume_abnormal, volume_in_use, memory_exhausted, shutting_down). */
  open(client: ExportClient): ExportSession;
}

/** The door's side of an open export. Called from the event loop, never from within a call to the session. */
export interface ExportClient {
  /** For status: address or socket path. */
  readonly peer: string;
  /** What `admit` refused may be asked again. */
  admitted(): void;
  /** Everything up to this update number may be answered: replies that waited for it may go. */
  durableReached(number: number): void;
  /**
   * Records from this number on will never be durable, or nobody can say that they stay: replies
   * waiting for them fail with `errno` and `text`.
   */
  durableFailed(from: number, errno: Errno, text: string): void;
  /** A read that was `readPending` is done: 0, or an error number. */
  readCompleted(token: number, errno: number): void;
  /** The export goes away (deleted, abnormal, shutdown): finish what is in flight, then close. */
  revoke(reason: string): void;
}

/** Error numbers as they stand on the wire (NBD protocol, "Error values"). */
export const errno = {
  none: 0,
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
} as const;
export type Errno = (typeof errno)[keyof typeof errno];

export const readPending = -1;

/** The effect of a ranged write without payload. `trim`: a hole, or nothing, as it is best. */
export type RangeEffect = 'zero' | 'hole' | 'trim';

/** Extents of `base:allocation`, reused between calls: `count` pairs of length and state. */
export interface ExtentList {
  count: number;
  readonly lengths: Float64Array;
  /** bit 0 hole, bit 1 reads as zero. */
  readonly states: Uint8Array;
}

/** Joined to the last one where it is alike. False: there is no room for it. */
export function addExtent(out: ExtentList, length: number, state: number): boolean {
  const last = out.count - 1;
  if (last >= 0 && out.states[last] === state) {
    out.lengths[last] = (out.lengths[last] ?? 0) + length;
    return true;
  }
  if (out.count === out.lengths.length) return false;
  out.lengths[out.count] = length;
  out.states[out.count] = state;
  out.count += 1;
  return true;
}

/** WRITEs that stand one behind the other in what was received. */
export interface WritesAhead {
  count: number;
  readonly offsets: Float64Array;
  readonly lengths: Uint32Array;
}

export interface ExportSession {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** What the door receives into; the journal gives them back. */
  readonly slabs: ReceiveSlabs;

  /**
   * Whether `bytes` more may be journaled now. False: stop parsing at this request, stop receiving,
   * and go on at `client.admitted()`. Asked once a record, before its stamp.
   */
  admit(bytes: number): boolean;

  /** What is overwritten may have to be preserved: the door is to say which WRITEs it has, before it stamps them. */
  readonly isPreserving: boolean;
  /** Does what can be done at once for all of them together. Nothing is lost where it is not called. */
  preserveAhead(writes: WritesAhead): void;
  /** The client is quiet, or others wait for memory: what is kept for the next writes goes. */
  giveMemoryBack(): void;

  /**
   * Numbers a write and stamps its record header over `slab.bytes[headerStart, +headerBytes)`; the
   * payload (`length` bytes, at most `recordPayloadBytesMax`) follows the header there. `headerBytes`
   * is 28 or 32. Records and pads of a run are adjacent: a gap ends the run by itself (the journal
   * then writes what it has first). Bounds, read-only and flags were checked by the door. Returns
   * the update number, or the negated errno when the write cannot be taken (ENOSPC, EIO). 0: not now,
   * as `admit`; the same is to be asked again at `client.admitted()`.
   */
  stampWrite(
    slab: ReceiveSlab,
    headerStart: number,
    headerBytes: 28 | 32,
    offset: number,
    length: number,
  ): number;

  /**
   * The same for TRIM (`trim`) and WRITE_ZEROES (`zero`, or `hole` unless NO_HOLE): no payload; any
   * `length` up to the volume's size (above 2^32 - 1 `headerBytes` must be 32).
   */
  stampRange(
    slab: ReceiveSlab,
    headerStart: number,
    headerBytes: 28 | 32,
    effect: RangeEffect,
    offset: number,
    length: number,
  ): number;

  /**
   * Makes a request header without effect (READ, FLUSH, ...) that stands inside a run an unnumbered
   * pad, so that the run goes on behind it. What is needed of it must have been read before. A pad
   * with nothing stamped before or behind it in the run is not written.
   */
  stampPad(slab: ReceiveSlab, headerStart: number, headerBytes: 28 | 32): void;

  /**
   * Appends the run to the journal: one write. After it, its writes may be answered (unless FUA) and
   * reads see them. Returns 0, or the errno for every request of the run.
   */
  commitRun(): number;

  /** A slab that will not be received into any more: the journal gives it back when it may. */
  retire(slab: ReceiveSlab): void;

  /** The newest update number of the group: a FLUSH parsed now waits until this is answerable. */
  readonly newest: number;
  readonly durable: number;
  /**
   * Updates up to here may be answered to who waits: they are durable, here and wherever the group's
   * hosts wait for.
   */
  readonly answerable: number;
  /** Updates above this wait until they are answerable, also where nobody asked for durability. */
  readonly plainThrough: number;

  /**
   * Somebody waits for `answerable` to reach `number`: `durableReached` (or `durableFailed`) will be
   * called. May sync within the call when that is quickest; look at `answerable` after it. Called at
   * most once a chunk, with the highest number waited for.
   */
  requestDurable(number: number): void;

  /**
   * Whether what is there may be shown now. False: some of it was not answered yet; go on at
   * `client.admitted()`, and ask again. Asked before `read`, `bytesInFile` and `extents`.
   */
  admitsRead(offset: number, length: number): boolean;

  /**
   * Reads into `bytes[start, start + length)`. 0: done. `readPending`: `readCompleted(token)` will be
   * called, and `bytes` must stay. Otherwise an errno.
   */
  read(offset: number, length: number, bytes: Buffer, start: number, token: number): number;

  /**
   * How many bytes from `offset` on, `length` at most, are in the backing file alone and in its page
   * cache. Until the caller returns to the event loop they may be sent from `fileDescriptor`, where
   * they stand at the same offset. 0: `read` them.
   */
  bytesInFile(offset: number, length: number): number;
  readonly fileDescriptor: number;

  /**
   * Fills `out` with the extents of the range, equal neighbours merged, until it is covered or `out`
   * is full. The last extent may reach beyond the range, never beyond the volume. Returns an errno.
   */
  extents(offset: number, length: number, out: ExtentList): number;

  /** CACHE: advises that the range will be read. Returns an errno. */
  cache(offset: number, length: number): number;

  /** The sentence for the client behind the last errno other than 0 of this session. */
  readonly errorText: string;

  readonly metrics: VolumeMetrics;

  close(): void;
}

export type HostOperation =
  | 'read'
  | 'write'
  | 'flush'
  | 'trim'
  | 'write_zeroes'
  | 'cache'
  | 'block_status';

/** Plain numbers, counted by the door, read by /metrics. Latency: request parsed to reply sent. */
export interface VolumeMetrics {
  readonly operations: Record<HostOperation, number>;
  readonly bytes: Record<HostOperation, number>;
  readonly errors: Record<HostOperation, number>;
  readonly latencyNanoseconds: Record<HostOperation, LatencyHistogram>;
}

export interface LatencyHistogram {
  /** `count` requests that took as long as each other. */
  record(nanoseconds: number, count: number): void;
}

/** Which exports there are. Names go by DESIGN: `G/V`, `V` where unique, '' where there is one volume. */
export interface ExportDirectory {
  find(name: string): Export | undefined;
  /** One full name per export. */
  list(): Export[];
}
