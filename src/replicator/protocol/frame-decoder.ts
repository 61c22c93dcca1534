import { assert, must } from '../../platform/assert.ts';
import { crc32 } from '../../platform/checksum.ts';
import { JnbdError } from '../../platform/errors.ts';
import { volumeSizeBytesMax } from '../../platform/limits.ts';
import {
  type CopyHeader,
  copyHeaderBytes,
  copyKind,
  copyKindAt,
  copyLengthAt,
  copyOffsetAt,
  copyShowsAt,
  emptyCopyHeader,
  copyVolumeAt,
  endFrameBytes,
  type FrameReceiver,
  frameHeaderBytes,
  frameKind,
  frameMagic,
  type RecordsHeader,
  recordsHeaderBytes,
  stretchFrameBytes,
} from './frames.ts';
import {
  acknowledgementFrameBytes,
  checksumsFrameBytesMax,
  decodeAcknowledgement,
  decodeChecksumsText,
  decodeMembersText,
  decodeWatermarks,
  membersFrameBytesMax,
  membersFrameBytesMin,
  type SignalKind,
  signalKind,
  type SignalReceiver,
  watermarksFrameBytes,
} from './stream-frames.ts';
import { copyBytesMax, recordsBytesMax } from './wire.ts';

const two32 = 2 ** 32;
const recordBytesMin = 28;

/**
 * `header`: the frame's header is being gathered, with what follows it at a fixed size. `place`: it is
 * whole, and its receiver has no room yet. `payload`: records or contents arrive where the receiver
 * wanted them. `ended`: nothing may follow. `broken`: an error was thrown.
 */
type DecoderState = 'header' | 'place' | 'payload' | 'ended' | 'broken';

const transitions: Record<DecoderState, readonly DecoderState[]> = {
  header: ['place', 'payload', 'ended', 'broken'],
  place: ['payload', 'broken'],
  payload: ['header', 'broken'],
  ended: ['broken'],
  broken: [],
};

/**
 * Takes the body of a journal answer, or of a stream, in pieces of any size and gives its frames to a
 * receiver. Holds 44 bytes of its own, of a stream 8 KiB; no length is believed before it is checked
 * against what that kind may have.
 */
export class FrameDecoder {
  readonly #receiver: FrameReceiver | undefined;
  readonly #signals: SignalReceiver | undefined;
  readonly #head: Buffer;
  readonly #view: DataView;
  readonly #records: RecordsHeader = {
    salt: 0,
    timeBaseMilliseconds: 0,
    first: 0,
    last: 0,
    generation: 0,
    incarnation: 0,
    recordsBytes: 0,
  };
  readonly #copy: CopyHeader = emptyCopyHeader();
  #state: DecoderState = 'header';
  #headBytes = 0;
  #headWanted = frameHeaderBytes;
  #target: Uint8Array | undefined;
  #targetBytes = 0;
  #payloadBytes = 0;
  #frames = 0;
  #consumed = 0;

  /**
   * `signals`: it is a stream, which has no contents of volumes, and of other kinds those that are
   * received there. No `receiver`: it has nothing else.
   */
  constructor(receiver: FrameReceiver | undefined, signals?: SignalReceiver) {
    this.#receiver = receiver;
    this.#signals = signals;
    this.#head = Buffer.alloc(
      frameHeaderBytes + (signals ? membersFrameBytesMax : copyHeaderBytes),
    );
    this.#view = new DataView(this.#head.buffer, this.#head.byteOffset, this.#head.length);
  }

  /** The end frame was there: the answer is whole. */
  get isWhole(): boolean {
    return this.#state === 'ended';
  }

  /** A frame waits for room. */
  get needsRoom(): boolean {
    return this.#state === 'place';
  }

  /** Between two frames: nothing of one is lost if the body ends here. */
  get isBetweenFrames(): boolean {
    return this.#state === 'ended' || (this.#state === 'header' && this.#headBytes === 0);
  }

  /** Frames decoded, the end frame not counted. */
  get frames(): number {
    return this.#frames;
  }

  /**
   * Takes `bytes` and returns how many: fewer than there are only if the receiver has no room for a
   * frame. The rest is to be given again, or nothing where all were taken, once there is room. Throws
   * JnbdError protocol_violated, after which the decoder is of no use any more.
   */
  decode(bytes: Uint8Array): number {
    assert(this.#state !== 'broken', 'a broken stream is not decoded further');
    let at = 0;
    if (this.#state === 'place' && !this.#place()) return 0;
    while (at < bytes.length) {
      const took =
        this.#state === 'payload' ? this.#takePayload(bytes, at) : this.#takeHead(bytes, at);
      at += took;
      this.#consumed += took;
      if (this.#state === 'place') break;
    }
    return at;
  }

  #become(state: DecoderState): void {
    assert(transitions[this.#state].includes(state), `frame decoder ${this.#state} -> ${state}`);
    this.#state = state;
  }

  #takeHead(bytes: Uint8Array, start: number): number {
    if (this.#state === 'ended') return this.#violated('bytes behind the end frame');
    const count = Math.min(this.#headWanted - this.#headBytes, bytes.length - start);
    for (let i = 0; i < count; i += 1) {
      this.#head[this.#headBytes + i] = bytes[start + i] ?? 0;
    }
    this.#headBytes += count;
    if (this.#headBytes < this.#headWanted) return count;
    if (this.#headWanted === frameHeaderBytes) this.#headWanted += this.#fixedBytes();
    else this.#frameBegun();
    return count;
  }

  /** What stands behind the frame header in any case. Its length is checked here. */
  #fixedBytes(): number {
    const view = this.#view;
    const magic = view.getUint32(0, true);
    if (magic !== frameMagic) return this.#violated(`no frame: it begins with ${hex(magic)}`);
    const kind = view.getUint8(4);
    if (view.getUint8(5) !== 0 || view.getUint16(6, true) !== 0) {
      return this.#violated(`a frame of kind ${kind} with flags, of which there are none`);
    }
    const length = view.getUint32(8, true);
    const isKnown = this.#receiver && !(this.#signals && kind === frameKind.copy);
    if (!isKnown || kind > frameKind.end) return this.#signalBytes(kind, length);
    switch (kind) {
      case frameKind.records: {
        const isRight =
          length >= recordsHeaderBytes + recordBytesMin &&
          length <= recordsHeaderBytes + recordsBytesMax;
        return isRight ? recordsHeaderBytes : this.#wrongLength('records', length);
      }
      case frameKind.copy: {
        const isRight = length >= copyHeaderBytes && length <= copyHeaderBytes + copyBytesMax;
        return isRight ? copyHeaderBytes : this.#wrongLength('copy', length);
      }
      case frameKind.stretch:
        return length === stretchFrameBytes
          ? stretchFrameBytes
          : this.#wrongLength('stretch', length);
      case frameKind.end:
        return length === endFrameBytes ? endFrameBytes : this.#wrongLength('end', length);
      default:
        return this.#violated(`a frame of kind ${kind}`);
    }
  }

  /** What a frame of this kind has behind its header, where it may come here. */
  #signalBytes(kind: number, length: number): number {
    const { watermarks, members, acknowledgement, checksums } = this.#signals ?? {};
    if (kind === signalKind.watermarks && watermarks) {
      return length === watermarksFrameBytes ? length : this.#wrongLength('watermarks', length);
    }
    if (kind === signalKind.members && members) {
      const isRight = length >= membersFrameBytesMin && length <= membersFrameBytesMax;
      return isRight ? length : this.#wrongLength('members', length);
    }
    if (kind === signalKind.acknowledgement && acknowledgement) {
      const isRight = length === acknowledgementFrameBytes;
      return isRight ? length : this.#wrongLength('acknowledgement', length);
    }
    if (kind === signalKind.checksums && checksums) {
      const isRight = length > 0 && length <= checksumsFrameBytesMax;
      return isRight ? length : this.#wrongLength('checksums', length);
    }
    return this.#violated(`a frame of kind ${kind}`);
  }

  #signalled(kind: SignalKind, length: number): void {
    const view = this.#view;
    const at = frameHeaderBytes;
    const signals = must(this.#signals, 'what a stream has beside records is received');
    this.#frameDone();
    if (kind === signalKind.watermarks) {
      signals.watermarks?.(
        decodeWatermarks(view, at) ?? this.#violated('watermarks that do not rise'),
      );
    } else if (kind === signalKind.members) {
      signals.members?.(
        decodeMembersText(view, at, length) ?? this.#violated('members of another length'),
      );
    } else if (kind === signalKind.checksums) {
      signals.checksums?.(decodeChecksumsText(view, at, length));
    } else {
      signals.acknowledgement?.(
        decodeAcknowledgement(view, at) ?? this.#violated('more applied than received'),
      );
    }
  }

  #frameBegun(): void {
    const kind = this.#view.getUint8(4);
    const length = this.#view.getUint32(8, true);
    if (kind > frameKind.end) {
      this.#signalled(kind as SignalKind, length);
    } else if (kind === frameKind.records) {
      this.#readRecords(length - recordsHeaderBytes);
    } else if (kind === frameKind.copy) {
      this.#readCopy(length - copyHeaderBytes);
    } else if (kind === frameKind.stretch) {
      this.#readStretch();
    } else {
      this.#readEnd();
    }
  }

  #readRecords(recordsBytes: number): void {
    const view = this.#view;
    const header = this.#records;
    const at = frameHeaderBytes;
    header.salt = view.getUint32(at, true);
    header.timeBaseMilliseconds = whole48(view, at + 4);
    header.first = whole48(view, at + 10);
    header.last = whole48(view, at + 16);
    header.generation = view.getUint32(at + 22, true);
    header.incarnation = whole48(view, at + 26);
    header.recordsBytes = recordsBytes;
    const { first, last } = header;
    if (first < 1 || last < first || (last - first + 1) * recordBytesMin > recordsBytes) {
      this.#violated(`records ${first} to ${last} in ${recordsBytes} bytes`);
    }
    this.#payloadBytes = recordsBytes;
    this.#place();
  }

  #readCopy(contentBytes: number): void {
    const view = this.#view;
    const header = this.#copy;
    const at = frameHeaderBytes;
    const kind = view.getUint8(at + copyKindAt);
    header.volume = view.getUint16(at + copyVolumeAt, true);
    header.offset = whole48(view, at + copyOffsetAt);
    header.length = whole48(view, at + copyLengthAt);
    header.shows = whole48(view, at + copyShowsAt);
    header.generation = view.getUint32(at + copyShowsAt + 6, true);
    header.incarnation = whole48(view, at + copyShowsAt + 10);
    header.contentBytes = contentBytes;
    const { offset, length } = header;
    if (kind !== copyKind.data && kind !== copyKind.hole) {
      return this.#violated(`a copy frame of kind ${kind}`);
    }
    header.kind = kind;
    const expected = kind === copyKind.data ? length : 0;
    if (length < 1 || contentBytes !== expected || offset + length > volumeSizeBytesMax) {
      this.#violated(`a copy frame of ${contentBytes} bytes for ${length} at ${offset}`);
    }
    this.#payloadBytes = contentBytes;
    if (contentBytes === 0) this.#copied();
    else this.#place();
  }

  #readStretch(): void {
    const view = this.#view;
    const at = frameHeaderBytes;
    const stretch = {
      generation: view.getUint32(at, true),
      system: whole48(view, at + 4),
      incarnation: whole48(view, at + 10),
      firstNumber: whole48(view, at + 16),
    };
    if (stretch.firstNumber < 1) this.#violated('a stretch that begins at number 0');
    this.#frameDone();
    this.#receiver?.stretch(stretch);
  }

  #readEnd(): void {
    const frames = this.#view.getUint32(frameHeaderBytes, true);
    if (frames !== this.#frames % two32) {
      this.#violated(`an end frame that counts ${frames} frames, not ${this.#frames}`);
    }
    this.#become('ended');
    this.#receiver?.end();
  }

  /** Asks the receiver where what follows is to go. */
  #place(): boolean {
    const isRecords = this.#view.getUint8(4) === frameKind.records;
    const receiver = must(this.#receiver, 'frames that bring something are received');
    const target = isRecords
      ? receiver.placeRecords(this.#records)
      : receiver.placeCopy(this.#copy);
    if (!target) {
      if (this.#state === 'header') this.#become('place');
      return false;
    }
    assert(target.length >= this.#payloadBytes, 'a frame fits the place that it was given');
    this.#target = target;
    this.#targetBytes = 0;
    this.#become('payload');
    return true;
  }

  #takePayload(bytes: Uint8Array, start: number): number {
    const target = must(this.#target, 'what arrives has a place');
    const count = Math.min(this.#payloadBytes - this.#targetBytes, bytes.length - start);
    const isAll = start === 0 && count === bytes.length;
    target.set(isAll ? bytes : bytes.subarray(start, start + count), this.#targetBytes);
    this.#targetBytes += count;
    if (this.#targetBytes < this.#payloadBytes) return count;
    if (this.#view.getUint8(4) === frameKind.records) {
      this.#become('header');
      this.#frameDone();
      this.#receiver?.records(this.#records);
    } else {
      this.#become('header');
      this.#copied();
    }
    return count;
  }

  #copied(): void {
    const at = frameHeaderBytes;
    const fields = crc32(this.#head.subarray(at + 4, at + copyHeaderBytes));
    const contents = this.#target?.subarray(0, this.#payloadBytes);
    const checksum = contents ? crc32(contents, fields) : fields;
    if (checksum !== this.#view.getUint32(at, true)) {
      const { volume, offset, length } = this.#copy;
      this.#violated(`contents of volume ${volume}, ${length} at ${offset}, with a wrong checksum`);
    }
    this.#frameDone();
    this.#receiver?.copy(this.#copy);
  }

  #frameDone(): void {
    this.#frames += 1;
    this.#headBytes = 0;
    this.#headWanted = frameHeaderBytes;
    this.#target = undefined;
  }

  #wrongLength(name: string, length: number): never {
    return this.#violated(`a ${name} frame of ${length} bytes`);
  }

  #violated(what: string): never {
    this.#become('broken');
    this.#target = undefined;
    throw new JnbdError(
      'protocol_violated',
      `the ${this.#receiver ? 'source' : 'follower'} sent ${what} (frame ${this.#frames + 1}, after ${this.#consumed} bytes)`,
    );
  }
}

function whole48(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint16(at + 4, true) * two32;
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`;
}
