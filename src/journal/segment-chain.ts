import { must } from '../platform/assert.ts';
import type { Clock } from '../platform/clock.ts';
import type { DiskFile } from '../platform/disk.ts';
import { recordPayloadBytesMax, segmentBytes, segmentHeaderBytes } from '../platform/limits.ts';
import type { Random } from '../platform/random.ts';
import type { Area } from './area.ts';
import { AreaFailure } from './area.ts';
import { recordHeaderBytes, wideRecordHeaderBytes } from './record.ts';
import type { JournalPosition, SegmentHeader } from './segment.ts';
import { encodeSegmentHeader } from './segment.ts';

/** Who writes: it stands in the header of every segment of one opening of the journal. */
export interface ChainIdentity {
  readonly groupId: string;
  readonly generation: number;
  readonly generationSystem: number;
  readonly incarnation: number;
}

/** `striped` takes areas in turn; `spare` stays in one until it fails or slows down. */
export type AreaLayout = 'striped' | 'spare';

/**
 * What a segment is begun for; all but the usual may take one of the emergency area. `moved records`: hosts wait
 * for them. The caller calls `writeHeader` when all of them are written; before, a crash leaves everything where it
 * was. `full start`: an incarnation begins where everything is held for somebody.
 */
export type SegmentUse = 'usual' | 'moved records' | 'full start';

/** A segment that holds something, or is about to. */
export interface LiveSegment {
  readonly header: SegmentHeader;
  readonly area: Area;
  readonly slot: number;
  readonly file: DiskFile;
  /**
   * The first number that can stand in it; 0: of the oldest that recovery found it is not known. A
   * number stands in the last segment that begins at or before it: what earlier ones have of it is void.
   */
  beginsAt: number;
  /** Where the next record goes. */
  endOffset: number;
  /** Highest update number in it (or before it, while it holds none). */
  lastNumber: number;
  /** Written since the last sync that covered it began. */
  dirty: boolean;
  /** From this offset on it holds nothing that can be believed: its journal failed. */
  lostFrom: number;
  /** Readers in it: while there are any it is not reused (SAFETY 5). */
  pins: number;
}

/**
 * All segments of about 25 days share a time base, on all systems: a record that goes to another
 * segment keeps its time, and only its salt changes. Times reach 25 days further.
 */
const timeBaseMilliseconds = 2 ** 31;

export function timeBaseOf(wallMilliseconds: number): number {
  return Math.floor(wallMilliseconds / timeBaseMilliseconds) * timeBaseMilliseconds;
}

/** The largest record, its mark and the roll behind it. */
const recordBytesMax = recordPayloadBytesMax + wideRecordHeaderBytes + recordHeaderBytes;
/** Records end here: a roll must fit behind them. */
const recordsEnd = segmentBytes - recordHeaderBytes;

/**
 * The live segments of a journal in the order of their sequence, and the next one, prepared ahead:
 * its header is durable before anything refers to it, so rolling never waits for a sync.
 */
export class SegmentChain {
  readonly #areas: readonly Area[];
  #layout: AreaLayout;
  readonly #identity: ChainIdentity;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #bySequence = new Map<number, LiveSegment>();
  #current: LiveSegment | undefined;
  #standby: LiveSegment | undefined;
  #preparing: LiveSegment | undefined;
  #nextSequence: number;
  #unnoted: SegmentHeader | undefined;
  /** The last release was stopped by a segment that is read, or synced. */
  #isReleaseHeld = false;
  #revision = 0;
  #turn = 0;
  #preferred: Area | undefined;

  /** `live`: what recovery found, in order of sequence. */
  constructor(
    deps: { clock: Clock; random: Random },
    areas: readonly Area[],
    layout: AreaLayout,
    identity: ChainIdentity,
    live: readonly LiveSegment[],
    nextSequence: number,
  ) {
    this.#clock = deps.clock;
    this.#random = deps.random;
    this.#areas = areas;
    this.#layout = layout;
    this.#identity = identity;
    live.forEach((segment, at) => {
      const before = live[at - 1];
      segment.beginsAt = segment.header.firstNumber || (before ? before.lastNumber + 1 : 0);
      this.#bySequence.set(segment.header.sequence, segment);
    });
    this.#nextSequence = nextSequence;
  }

  get current(): LiveSegment {
    return must(this.#current, 'the chain was begun');
  }

  /** Where what was written ends, also before the chain was begun. */
  get tail(): JournalPosition {
    const last = this.#current ?? [...this.#bySequence.values()].at(-1);
    return { sequence: last?.header.sequence ?? 0, offset: last?.endOffset ?? 0 };
  }

  get capacityBytes(): number {
    let bytes = 0;
    for (const area of this.#areas) if (this.#isInUse(area)) bytes += area.slots * segmentBytes;
    return bytes;
  }

  /** No area of the journal can be written any more: it goes on in the emergency area. */
  get isInEmergency(): boolean {
    for (const area of this.#areas) {
      if (area.role === 'journal' && isWritable(area)) return false;
    }
    return true;
  }

  /** Free segments that a standby may take: the last one is kept for recovery and takeover. */
  get spareSegments(): number {
    let free = 0;
    for (const area of this.#areas) if (this.#isInUse(area)) free += area.freeSlots.length;
    return Math.max(0, free - 1);
  }

  /** Little is free: what could be released should be. */
  get isTight(): boolean {
    return this.spareSegments * 4 < this.#bySequence.size;
  }

  get usedBytes(): number {
    return this.#bySequence.size * segmentBytes;
  }

  /** From the next segment that is prepared on. */
  setLayout(layout: AreaLayout): void {
    this.#layout = layout;
  }

  /** Another one whenever there are other live segments than before. */
  get revision(): number {
    return this.#revision;
  }

  find(sequence: number): LiveSegment | undefined {
    return this.#bySequence.get(sequence);
  }

  live(): IterableIterator<LiveSegment> {
    return this.#bySequence.values();
  }

  hasRoom(recordBytes: number): boolean {
    return this.current.endOffset + recordBytes <= recordsEnd;
  }

  /** Whether this much more finds room, whatever records it is divided into. */
  admits(bytes: number): boolean {
    return this.hasRoom(bytes + recordBytesMax) || this.standbyReady;
  }

  /** It does not, and will not unless segments are released. */
  isFullFor(bytes: number): boolean {
    const willHaveStandby = this.#preparing !== undefined || this.spareSegments > 0;
    return !this.admits(bytes) && !willHaveStandby;
  }

  /** Whether `roll` would find its next segment. */
  get standbyReady(): boolean {
    return this.#standby !== undefined;
  }

  get standbySequence(): number | undefined {
    return this.#standby?.header.sequence;
  }

  /**
   * Opens a segment that begins at `firstNumber`: the start of an incarnation, or the takeover of a
   * failed area. Its header is written, not synced: the caller syncs before it calls anything in it
   * durable. A prepared segment is dropped. Undefined: no area has a free segment. Throws AreaFailure.
   */
  begin(firstNumber: number, durable: number, use: SegmentUse = 'usual'): LiveSegment | undefined {
    this.dropStandby();
    const area = this.#choose() ?? (use === 'usual' ? undefined : this.#emergencyArea());
    const segment = this.#takeSegment(area, firstNumber, durable);
    if (!segment) return undefined;
    if (use !== 'moved records') this.writeHeader(segment);
    this.#become(segment);
    this.#unnoted = segment.header;
    return segment;
  }

  /** Throws AreaFailure. */
  writeHeader({ file, area, header }: LiveSegment): void {
    try {
      file.writeSync(encodeSegmentHeader(header), 0, segmentHeaderBytes, 0);
    } catch (error) {
      throw new AreaFailure(area, error);
    }
  }

  /** The segment that was begun last, until the head says so. */
  get unnoted(): SegmentHeader | undefined {
    return this.#unnoted;
  }

  noted(): void {
    this.#unnoted = undefined;
  }

  /** Goes on in the prepared segment. The roll record was written to the one before. */
  advance(): LiveSegment {
    const segment = must(this.#standby, 'a standby segment is ready');
    this.#standby = undefined;
    segment.lastNumber = this.current.lastNumber;
    segment.beginsAt = segment.lastNumber + 1;
    this.#become(segment);
    return segment;
  }

  /**
   * Prepares the next segment: header written, what was never written filled, and synced. `done` is called once when that ended, with
   * the failure if it failed; not called when nothing was to be done, or no segment is free.
   */
  prepareStandby(durable: number, done: (failure: AreaFailure | null) => void): void {
    if (this.#standby || this.#preparing || !this.#current || this.spareSegments === 0) return;
    let preparing: LiveSegment | undefined;
    try {
      preparing = this.#takeSegment(this.#choose(), 0, durable);
      if (preparing) this.writeHeader(preparing);
    } catch (error) {
      if (!(error instanceof AreaFailure)) throw error;
      this.#clock.soon(() => done(error));
      return;
    }
    if (!preparing) return;
    const segment = preparing;
    this.#preparing = segment;
    // Whoever writes much waits for few syncs, and for room sooner.
    const isWanted = (): boolean =>
      this.#preparing === segment && this.current.endOffset < segmentBytes / 2;
    segment.file.fillReserved(isWanted, () => {
      if (this.#preparing === segment) this.#syncStandby(segment, done);
    });
  }

  #syncStandby(segment: LiveSegment, done: (failure: AreaFailure | null) => void): void {
    segment.file.dataSync((error) => {
      if (this.#preparing !== segment) return;
      this.#preparing = undefined;
      if (!error) {
        segment.dirty = false;
        this.#standby = segment;
      }
      done(error ? new AreaFailure(segment.area, error) : null);
    });
  }

  /** The journal is closed: its files are next. */
  stop(): void {
    this.#preparing = undefined;
  }

  /** What lies behind `durable` in these segments is void: it goes on elsewhere. */
  voidAfter(durable: number): void {
    for (const segment of this.#bySequence.values()) {
      if (segment.lastNumber > durable) segment.lastNumber = durable;
    }
  }

  /** Forgets a prepared segment: its area failed, or the sequence it was made for is taken. */
  dropStandby(): void {
    for (const segment of [this.#standby, this.#preparing]) {
      if (segment) segment.area.freeSlots.push(segment.slot);
    }
    this.#standby = undefined;
    this.#preparing = undefined;
  }

  /** More could be freed, once readers and syncs are done with it: nobody tells when. */
  get isReleaseHeld(): boolean {
    return this.#isReleaseHeld;
  }

  /**
   * Frees whole segments that hold nothing after `released` and come before the sequence `kept`, the
   * one that the checkpoint is in: recovery begins there. Returns how many.
   */
  release(released: number, kept: number): number {
    let freed = 0;
    this.#isReleaseHeld = false;
    for (const [sequence, segment] of this.#bySequence) {
      if (segment === this.#current || sequence >= kept || segment.lastNumber > released) break;
      if (segment.pins > 0 || segment.dirty) {
        this.#isReleaseHeld = true;
        break;
      }
      this.#bySequence.delete(sequence);
      segment.area.freeSlots.push(segment.slot);
      this.#revision += 1;
      freed += 1;
    }
    return freed;
  }

  #become(segment: LiveSegment): void {
    this.#bySequence.set(segment.header.sequence, segment);
    this.#current = segment;
    this.#revision += 1;
  }

  /** A full journal does not spill into the emergency area. */
  #isInUse(area: Area): boolean {
    return isWritable(area) && (area.role === 'journal' || this.isInEmergency);
  }

  #choose(): Area | undefined {
    const isFree = (area: Area): boolean => this.#isInUse(area) && area.freeSlots.length > 0;
    const usable = (area: Area): boolean => isFree(area) && area.state === 'healthy';
    if (this.#layout === 'striped') {
      for (let i = 0; i < this.#areas.length; i += 1) {
        const area = this.#areas[(this.#turn + i) % this.#areas.length];
        if (area && usable(area)) {
          this.#turn = (this.#turn + i + 1) % this.#areas.length;
          return area;
        }
      }
      return this.#areas.find(isFree);
    }
    if (!this.#preferred || !usable(this.#preferred)) {
      this.#preferred = this.#areas.find(usable) ?? this.#areas.find(isFree);
    }
    return this.#preferred;
  }

  #emergencyArea(): Area | undefined {
    return this.#areas.find(
      (area) => area.role === 'emergency' && isWritable(area) && area.freeSlots.length > 0,
    );
  }

  /** Whatever becomes of it, no other header on disk may claim the same place: a sequence is given once. */
  #takeSegment(
    area: Area | undefined,
    firstNumber: number,
    durable: number,
  ): LiveSegment | undefined {
    const slot = area?.freeSlots.pop();
    if (!area || slot === undefined) return undefined;
    const sequence = this.#nextSequence;
    this.#nextSequence += 1;
    const salt = this.#random.bytes(4);
    const header: SegmentHeader = {
      ...this.#identity,
      sequence,
      firstNumber,
      durable,
      timeBaseMilliseconds: timeBaseOf(this.#clock.wallMilliseconds()),
      salt: new DataView(salt.buffer, salt.byteOffset).getUint32(0),
    };
    try {
      const file = area.segmentFile(slot);
      return {
        header,
        area,
        slot,
        file,
        beginsAt: firstNumber,
        endOffset: segmentHeaderBytes,
        lastNumber: Math.max(0, firstNumber - 1),
        dirty: true,
        lostFrom: segmentBytes,
        pins: 0,
      };
    } catch (error) {
      throw new AreaFailure(area, error);
    }
  }
}

function isWritable({ state }: Area): boolean {
  return state === 'healthy' || state === 'slow';
}
