import type { Group } from '../../group/order/group.ts';
import { stretchOf } from '../../group/catalog/lineage.ts';
import type { ReceivedRecords } from '../../group/volumes/received-records.ts';
import type { CopiedPiece } from '../../group/volumes/copied-contents.ts';
import type { VolumeCopies } from '../../group/volumes/volume-copies.ts';
import type { ReceiveSlab } from '../../journal/receive-slab.ts';
import { checkContents } from '../peers/contents-check.ts';
import { must } from '../../platform/assert.ts';
import { JnbdError, messageOf } from '../../platform/errors.ts';
import { slabBytes, slabHeadroomBytes } from '../../platform/limits.ts';
import { FrameDecoder } from '../protocol/frame-decoder.ts';
import {
  type CopyHeader,
  copyKind,
  type FrameReceiver,
  type RecordsHeader,
} from '../protocol/frames.ts';
import type { SignalReceiver } from '../protocol/stream-frames.ts';
import type { Stretch } from '../protocol/wire.ts';

/** All of their memory. */
type Contents = Uint8Array<ArrayBuffer>;

/**
 * Takes the bodies of journal answers, one after the other, into a group: records into slabs and from
 * there into the journal, contents into volumes. What finds no room stops it; what arrives meanwhile is
 * kept, and `roomAppeared` goes on.
 */
export class AnswerBody implements FrameReceiver {
  readonly #group: Group;
  readonly #records: ReceivedRecords;
  readonly #copies: VolumeCopies;
  /** What was refused room may be tried again. */
  readonly #retry: () => void;
  #decoder: FrameDecoder | undefined;
  #slab: ReceiveSlab | undefined;
  /** Where the next records go in the slab, and where those under way begin. */
  #slabEnd = slabHeadroomBytes;
  #backlog: Buffer[] = [];
  #pieces: { readonly piece: CopiedPiece; readonly contents: Contents | undefined }[] = [];
  /** Where the contents under way arrive. */
  #contents: Contents | undefined;
  #takenRecords = 0;

  constructor(group: Group, records: ReceivedRecords, copies: VolumeCopies, retry: () => void) {
    this.#group = group;
    this.#records = records;
    this.#copies = copies;
    this.#retry = retry;
  }

  /** Numbered records of this answer that were appended. */
  get takenRecords(): number {
    return this.#takenRecords;
  }

  /** Nothing more can be taken until there is room. */
  get isBlocked(): boolean {
    return this.#backlog.length > 0 || this.#pieces.length > 0 || this.#decoder?.needsRoom === true;
  }

  /** No frame is here in part. */
  get isBetweenFrames(): boolean {
    return this.#decoder?.isBetweenFrames === true && this.#backlog.length === 0;
  }

  get isWhole(): boolean {
    return this.#decoder?.isWhole === true && !this.isBlocked;
  }

  /** `signals`: it is the body of a stream. */
  begin(signals?: SignalReceiver): void {
    this.#decoder = new FrameDecoder(this, signals);
    this.#backlog = [];
    this.#pieces = [];
    this.#takenRecords = 0;
  }

  /** The next bytes of the body; the caller's again on return. Throws JnbdError. */
  take(bytes: Uint8Array): void {
    const taken = this.isBlocked ? 0 : this.#decode(bytes);
    if (taken < bytes.length) this.#backlog.push(Buffer.from(bytes.subarray(taken)));
  }

  /** There may be room. Throws JnbdError. */
  goOn(): void {
    while (this.#pieces.length > 0) {
      const { piece, contents } = must(this.#pieces[0], 'a piece waits');
      if (!this.#copies.take(piece, contents)) return;
      this.#pieces.shift();
    }
    if (this.#decoder?.needsRoom === true && this.#backlog.length === 0) {
      this.#decode(new Uint8Array(0));
    }
    while (this.#backlog.length > 0 && this.#pieces.length === 0) {
      const bytes = must(this.#backlog[0], 'bytes wait');
      const taken = this.#decode(bytes);
      if (taken < bytes.length) {
        this.#backlog[0] = bytes.subarray(taken);
        return;
      }
      this.#backlog.shift();
    }
  }

  /** What came of the present answer and is not appended is dropped. */
  close(): void {
    this.#decoder = undefined;
    this.#backlog = [];
    this.#pieces = [];
    if (this.#slab) this.#records.retire(this.#slab);
    this.#slab = undefined;
  }

  placeRecords({ recordsBytes }: RecordsHeader): Uint8Array | undefined {
    if (this.#pieces.length > 0 || !this.#records.admits(recordsBytes)) return undefined;
    if (this.#slab && this.#slabEnd + recordsBytes > slabBytes) {
      this.#records.retire(this.#slab);
      this.#slab = undefined;
    }
    if (!this.#slab) {
      const { slabs } = this.#group;
      this.#slab = slabs.take();
      this.#slabEnd = slabHeadroomBytes;
      if (!this.#slab) {
        slabs.whenFree(this.#retry);
        return undefined;
      }
    }
    return this.#slab.bytes.subarray(this.#slabEnd, this.#slabEnd + recordsBytes);
  }

  records(header: RecordsHeader): void {
    this.#checkStretch(header);
    const start = this.#slabEnd;
    this.#slabEnd += header.recordsBytes;
    const slab = must(this.#slab, 'records were placed in a slab');
    const before = this.#group.watermarks.newest;
    this.#records.append(slab, start, this.#slabEnd, header);
    const { newest } = this.#group.watermarks;
    this.#takenRecords += newest - before;
    checkContents(this.#group);
    if (newest === header.last) return;
    throw new JnbdError('protocol_violated', `a frame ends at ${newest}, not at ${header.last}`);
  }

  placeCopy(header: CopyHeader): Uint8Array | undefined {
    if (this.#pieces.length > 0 || !this.#copies.isReady(header.length)) return undefined;
    // They go to another thread as they are.
    this.#contents = Buffer.allocUnsafeSlow(header.contentBytes);
    return this.#contents;
  }

  copy(header: CopyHeader): void {
    const { volume, kind, offset, length, shows: number, generation, incarnation } = header;
    const shows = { generation, incarnation, number };
    const piece = { volume, isHole: kind === copyKind.hole, offset, length, shows };
    const contents = piece.isHole ? undefined : must(this.#contents, 'contents were placed');
    this.#contents = undefined;
    if (this.#pieces.length === 0 && this.#copies.take(piece, contents)) return;
    this.#pieces.push({ piece, contents });
  }

  /** Durable before a record of it is appended: a position without its stretch would be another one. */
  stretch(stretch: Stretch): void {
    const { changes, catalog, watermarks } = this.#group;
    const known = stretchOf(catalog.lineage, stretch.firstNumber);
    // One that is promoted again in the same opening has the incarnation that it had before.
    const isKnown =
      known?.incarnation === stretch.incarnation && known.generation === stretch.generation;
    if (isKnown) return;
    if (stretch.firstNumber !== watermarks.newest + 1) {
      throw new JnbdError(
        'protocol_violated',
        `a stretch begins at ${stretch.firstNumber}, behind ${watermarks.newest}`,
      );
    }
    try {
      changes.adoptStretch(stretch);
    } catch (error) {
      const text = `the catalog of group ${this.#group.name} cannot be written: ${messageOf(error)}`;
      throw new JnbdError('write_failed', text, { cause: error });
    }
  }

  end(): void {
    this.#copies.answerEnded();
  }

  #decode(bytes: Uint8Array): number {
    return must(this.#decoder, 'an answer was begun').decode(bytes);
  }

  #checkStretch({ first, last, generation, incarnation }: RecordsHeader): void {
    const { lineage } = this.#group.catalog;
    const stretch = stretchOf(lineage, first);
    const isSame = stretch?.generation === generation && stretch.incarnation === incarnation;
    if (isSame && stretch === stretchOf(lineage, last)) return;
    throw new JnbdError(
      'protocol_violated',
      `updates ${first} to ${last} are said to be of ${generation}:${incarnation}, which is not in the lineage there`,
    );
  }
}
