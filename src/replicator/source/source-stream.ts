import type { ToldChecksums } from '../../group/apply/compared-points.ts';
import { must } from '../../platform/assert.ts';
import type { Timer } from '../../platform/clock.ts';
import { JnbdError } from '../../platform/errors.ts';
import { KiB, MiB } from '../../platform/limits.ts';
import type { BatchBuffer } from './batch-buffers.ts';
import { sendProblem } from './forwarded-requests.ts';
import type { ToldByRead } from './source-acknowledgements.ts';
import { journalAnswer } from './source-answer.ts';
import { SourceBatch } from './source-batch.ts';
import type { NewsStream, SourceGroup } from './source-group.ts';
import type { SourceJournal } from './source-journal.ts';
import type { SourceReader } from './source-reader.ts';
import { fillRecords, type RecordsEnd } from './source-records.ts';
import { endRefusal, type Refusal, refusalOf, stoppingRefusal } from './source-refusal.ts';
import type { Answer, RequestStream } from '../transport/transport.ts';
import { FrameDecoder } from '../protocol/frame-decoder.ts';
import { encodeEnd } from '../protocol/frame-encoder.ts';
import { endFrameBytes, frameHeaderBytes } from '../protocol/frames.ts';
import {
  encodeMembersText,
  type StreamAcknowledgement,
  watermarksFrameBytes,
} from '../protocol/stream-frames.ts';
import { beatMillisecondsOf, silenceMillisecondsOf } from '../protocol/stream-times.ts';
import {
  encodeJournalAnswer,
  type JournalAnswer,
  type JournalRead,
  type Member,
} from '../protocol/wire.ts';
import { parseChecksums } from '../protocol/wire-checksums.ts';
import { formatMembers, parseMembers } from '../protocol/wire-members.ts';

/** The only memory that a stream has: what does not fit waits in the journal. */
const bufferBytes = 512 * KiB;
/** One that is so far behind gets there sooner by reads. */
const behindBytesMax = 64 * MiB;
const membersMilliseconds = 1000;
/** While records are sent before they are durable here, how far that is interests nobody at once. */
const toldMilliseconds = 5;

export interface SourceStreamOwner {
  /** At once on its way to the group. */
  acknowledged(told: ToldByRead): void;
  /** The follower said what cannot be; for the log. */
  refused(why: string): void;
}

/** `ended`: nothing more is sent or heard. */
type StreamState = 'open' | 'ended';

/**
 * The journal of a group as it grows, for one follower: what may be sent is at once, one batch at a time,
 * where replies wait for the follower before it is durable here; what the follower says of itself is told at once. It ends, for reads to go on, where the
 * follower would be refused, is too far behind, or is silent.
 */
export class SourceStream implements NewsStream {
  readonly #group: SourceGroup;
  readonly #journal: SourceJournal;
  readonly #reader: SourceReader;
  readonly #answer: Answer;
  readonly #owner: SourceStreamOwner;
  readonly #timeoutMilliseconds: number;
  readonly #decoder: FrameDecoder;
  #buffer: BatchBuffer | undefined;
  #read: JournalRead;
  /** Up to where it was given to the transport. */
  #records: RecordsEnd;
  #state: StreamState = 'open';
  /** A batch is being filled, or on its way. */
  #isBusy = false;
  #isBeatDue = false;
  #frames = 0;
  /** Of the group, when it was last asked whether this follower may have it. */
  #picture: SourceJournal['picture'];
  #said: StreamAcknowledgement | undefined;
  #serial = 0;
  #members: readonly Member[];
  #checksums: ToldChecksums | undefined;
  #toldHeard = 0;
  #toldDurable = 0;
  #toldAt = 0;
  /** Of the journal, when what is not durable here could not be read. */
  #unreadRevision = -1;
  #toldMembers = '';
  #toldMembersAt: number;
  #sentAt: number;
  #heardAt: number;
  #beat: Timer | undefined;

  constructor(
    group: SourceGroup,
    reader: SourceReader,
    read: JournalRead,
    answer: Answer,
    owner: SourceStreamOwner,
  ) {
    this.#group = group;
    this.#journal = group.journal;
    this.#reader = reader;
    this.#read = read;
    this.#answer = answer;
    this.#owner = owner;
    this.#records = { through: read.position.number, segment: undefined, offset: 0 };
    this.#picture = group.journal.picture;
    this.#members = read.members;
    this.#checksums = read.checksums;
    this.#timeoutMilliseconds = this.#timeout();
    this.#sentAt = this.#heardAt = this.#toldMembersAt = this.#now();
    this.#decoder = new FrameDecoder(undefined, {
      acknowledgement: (told) => this.#acknowledged(told),
      members: ({ members }) => {
        this.#members = parseMembers(members);
      },
      checksums: (text) => {
        this.#checksums = parseChecksums(text);
      },
    });
  }

  /** Throws JnbdError protocol_violated, and is of no use then. */
  begin(body: RequestStream): void {
    const { copied, ranges } = this.#read;
    if (copied.length > 0 || ranges.length > 0) {
      throw new JnbdError('protocol_violated', 'contents of volumes are not sent on a stream');
    }
    const refusal = this.#refusal();
    if (refusal) {
      sendProblem(this.#answer, refusal.error, refusal.details);
      return;
    }
    this.#reader.endStream?.();
    this.#reader.endStream = () => this.#end();
    const bytes = Buffer.allocUnsafeSlow(bufferBytes);
    this.#buffer = { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length) };
    const told = this.#told();
    const headers = encodeJournalAnswer({ ...told, takesChecksums: true });
    this.#answer.head(200, { ...headers, 'content-type': 'application/octet-stream' });
    this.#toldMembers = membersText(told);
    body.receive((received) => this.#received(received));
    this.#answer.whenGone(() => this.#close());
    this.#tellAcknowledged(this.#read);
    this.#group.joinStream(this);
    this.#armBeat();
    this.look();
  }

  /** There may be something to send, or a reason to end. */
  look(): void {
    if (this.#state !== 'open' || this.#isBusy) return;
    if (this.#hasReasonToEnd()) this.#end();
    else if (this.#limit > this.#records.through || this.#isSignalDue()) {
      void this.#send();
    }
  }

  get #limit(): number {
    const { sendable, servable, revision } = this.#journal;
    const isAhead = this.#read.takesAhead === true && revision !== this.#unreadRevision;
    return isAhead ? sendable : servable;
  }

  #hasReasonToEnd(): boolean {
    if (this.#group.isStopping) return true;
    const { picture } = this.#journal;
    if (picture === this.#picture) return false;
    this.#picture = picture;
    return this.#refusal() !== undefined || this.#timeout() !== this.#timeoutMilliseconds;
  }

  #refusal(): Refusal | undefined {
    const journal = this.#journal;
    if (this.#group.isStopping) return stoppingRefusal(journal);
    const { through } = this.#records;
    const position = this.#buffer ? journal.positionOf(through) : this.#read.position;
    return endRefusal(journal) ?? refusalOf(journal, this.#reader.systemId, { position });
  }

  #timeout(): number {
    return this.#journal.synchronousFor(this.#reader.systemId)?.timeoutMilliseconds ?? 0;
  }

  #isSignalDue(): boolean {
    if (this.#isBeatDue) return true;
    const heard = this.#journal.synchronousFor(this.#reader.systemId)?.heard ?? 0;
    return heard !== this.#toldHeard || this.#journal.servable > this.#toldDurable;
  }

  /** Records, if there are any, and behind them how far the source is, if that was not told just now. */
  async #send(): Promise<void> {
    this.#isBusy = true;
    const batch = new SourceBatch(must(this.#buffer, 'it has begun'), bufferBytes);
    batch.reserve(frameHeaderBytes + watermarksFrameBytes);
    const { through } = this.#records;
    const limit = this.#limit;
    try {
      if (limit > through) {
        this.#records = await fillRecords(this.#journal, batch, through + 1, limit);
        this.#group.noteTrouble(undefined);
      }
    } catch (error) {
      if (!(error instanceof JnbdError)) throw error;
      // What is not durable yet may be written elsewhere just now: the next news tell where it is.
      this.#unreadRevision = this.#journal.revision;
      if (this.#journal.servable > through) {
        this.#group.noteTrouble(error.message);
        this.#end();
      }
    }
    // It may have ended meanwhile.
    if (this.#state !== 'open') return;
    batch.reserve(0);
    const isAhead = this.#records.through > this.#journal.servable;
    const isLater = isAhead && batch.frames > 0 && !this.#isBeatDue;
    const isTold = isLater && this.#now() < this.#toldAt + toldMilliseconds;
    const unsentBytes = isTold ? 0 : this.#addSignals(batch, this.#told());
    this.#reader.sent = Math.max(this.#reader.sent, this.#records.through);
    this.#frames += batch.frames;
    this.#sentAt = this.#now();
    this.#isBeatDue = false;
    this.#answer.send(batch.content, () => {
      this.#isBusy = false;
      this.look();
    });
    if (unsentBytes > behindBytesMax) this.#end();
  }

  #told(): JournalAnswer {
    const wall = this.#group.clock.wallMilliseconds();
    const { systemId } = this.#reader;
    return journalAnswer(this.#journal, this.#read, this.#records, wall, systemId);
  }

  /** Returns how many bytes are still to be sent. */
  #addSignals(batch: SourceBatch, told: JournalAnswer): number {
    const { usedBytes, capacityBytes, timeMilliseconds, watermarks, synchronous } = told;
    const { unsentBytes, oldestUnsentMilliseconds } = told;
    this.#toldHeard = synchronous?.heard ?? 0;
    this.#toldDurable = watermarks.durable;
    this.#toldAt = this.#now();
    batch.addWatermarks({
      ...watermarks,
      usedBytes,
      capacityBytes,
      timeMilliseconds,
      unsentBytes,
      oldestUnsentMilliseconds,
      heard: this.#toldHeard,
      timeoutMilliseconds: this.#timeoutMilliseconds,
    });
    if (this.#toldAt - this.#toldMembersAt < membersMilliseconds) return unsentBytes;
    this.#toldMembersAt = this.#toldAt;
    const text = membersText(told);
    if (text === this.#toldMembers) return unsentBytes;
    const [members = '', path = ''] = text.split('\n');
    if (batch.addFrame(encodeMembersText({ members, path }))) this.#toldMembers = text;
    return unsentBytes;
  }

  #received(bytes: Uint8Array): void {
    if (this.#state !== 'open') return;
    try {
      this.#decoder.decode(bytes);
    } catch (error) {
      if (!(error instanceof JnbdError)) throw error;
      this.#owner.refused(`its stream is broken off: ${error.message}`);
      this.#breakOff();
      return;
    }
    const said = this.#said;
    this.#said = undefined;
    if (said) this.#tellAcknowledged(said);
  }

  /** Of those that arrive together the last one says all. */
  #acknowledged(told: StreamAcknowledgement): void {
    const { serial, received, applied } = told;
    const before = this.#said ?? this.#read;
    const { through } = this.#records;
    const isRising = received >= before.received && applied >= before.applied;
    if (serial > this.#serial && isRising && received <= through) {
      this.#serial = serial;
      this.#said = told;
      return;
    }
    const text = `acknowledgement ${serial} of ${received} received, ${applied} applied, where ${through} was sent last`;
    throw new JnbdError('protocol_violated', `the follower sent ${text}, behind ${this.#serial}`);
  }

  #tellAcknowledged({
    received,
    applied,
    serial,
  }: Omit<StreamAcknowledgement, 'serial'> & ToldSerial): void {
    this.#heardAt = this.#now();
    this.#read = { ...this.#read, received, applied };
    this.#owner.acknowledged({
      received,
      applied,
      serial,
      copied: [],
      ranges: [],
      members: this.#members,
      checksums: this.#checksums,
      againMilliseconds: beatMillisecondsOf(this.#timeoutMilliseconds),
    });
  }

  #armBeat(): void {
    const beat = beatMillisecondsOf(this.#timeoutMilliseconds);
    this.#beat = this.#group.clock.after(beat, () => {
      const now = this.#now();
      if (now - this.#heardAt > silenceMillisecondsOf(this.#timeoutMilliseconds)) {
        this.#breakOff();
        return;
      }
      this.#isBeatDue = now - this.#sentAt >= beat / 2;
      this.#armBeat();
      this.look();
    });
  }

  /** For a reason that the next read is told. */
  #end(): void {
    if (this.#state !== 'open') return;
    const bytes = Buffer.alloc(frameHeaderBytes + endFrameBytes);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    encodeEnd(view, 0, this.#frames % 2 ** 32);
    this.#answer.send(bytes, () => {});
    this.#answer.end();
    this.#close();
  }

  #breakOff(): void {
    this.#answer.abort();
    this.#close();
  }

  #close(): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#beat?.cancel();
    this.#reader.endStream = undefined;
    this.#group.leaveStream(this);
  }

  #now(): number {
    return this.#group.clock.monotonicMilliseconds();
  }
}

interface ToldSerial {
  readonly serial?: number | undefined;
}

/** Both texts, which have no line breaks. */
function membersText({ members, path }: JournalAnswer): string {
  return `${formatMembers(members)}\n${path.join(',')}`;
}
