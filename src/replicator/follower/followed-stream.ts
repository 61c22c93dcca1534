import type { ToldChecksums } from '../../group/apply/compared-points.ts';
import type { Group } from '../../group/order/group.ts';
import { positionOf } from '../../group/catalog/lineage.ts';
import { must } from '../../platform/assert.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import { JnbdError } from '../../platform/errors.ts';
import type { AnswerBody } from './answer-body.ts';
import { confirmOnStream, takesAhead } from './source-confirmations.ts';
import { leaseOf, type SourceLease } from './source-lease.ts';
import type { AnswerReceiver, Exchange, TransportClient } from '../transport/transport.ts';
import { frameHeaderBytes } from '../protocol/frames.ts';
import {
  acknowledgementFrameBytes,
  encodeAcknowledgement,
  encodeChecksumsText,
  encodeMembersText,
  type StreamMembersText,
  type StreamWatermarks,
} from '../protocol/stream-frames.ts';
import { beatMillisecondsOf, silenceMillisecondsOf } from '../protocol/stream-times.ts';
import {
  type Caller,
  decodeJournalAnswer,
  decodePath,
  encodeCaller,
  encodeJournalRead,
  type JournalAnswer,
  type JournalRead,
  jsonBytesMax,
  paths,
  type WireHeaders,
} from '../protocol/wire.ts';
import { formatChecksums } from '../protocol/wire-checksums.ts';
import { formatMembers, parseMembers } from '../protocol/wire-members.ts';
import { readProblem } from '../protocol/wire-json.ts';

export interface FollowedStreamOwner {
  /** The source said how far it is; `isWhole`: and who has the group. */
  told(answer: JournalAnswer, isWhole: boolean): void;
  /** What arrives finds no room: it is left with the link until `roomAppeared`. */
  blocked(): void;
  /** The source ended it, or the way there did: reads go on. */
  over(error: JnbdError | undefined): void;
  /** What came is wrong, or cannot be taken. */
  failed(error: JnbdError): void;
}

const headMilliseconds = 10_000;
/** What was only applied is told together. */
const appliedMilliseconds = 100;
const membersMilliseconds = 1000;
const nothing = Buffer.alloc(0);

/** `asked`: for its head. `open`: both sides may speak. */
type FollowedStreamState = 'asked' | 'open' | 'over';

/**
 * The source's journal as it grows: what arrives goes to the group and is made durable at once, and what is
 * durable is told at once. Says at most one thing at a time, and then the newest: a link that takes nothing
 * holds no more than that.
 */
export class FollowedStream implements AnswerReceiver {
  readonly #group: Group;
  readonly #clock: Clock;
  readonly #body: AnswerBody;
  readonly #lease: SourceLease;
  readonly #owner: FollowedStreamOwner;
  readonly #exchange: Exchange;
  readonly #beatMilliseconds: number;
  readonly #takesAhead: boolean;
  readonly #frame = Buffer.alloc(frameHeaderBytes + acknowledgementFrameBytes);
  readonly #view = new DataView(this.#frame.buffer, this.#frame.byteOffset, this.#frame.length);
  #state: FollowedStreamState = 'asked';
  #answer: JournalAnswer | undefined;
  /** What was told with the bytes that are being taken. */
  #told: StreamWatermarks | undefined;
  #status = 0;
  #problem: Buffer[] = [];
  #problemBytes = 0;
  #received: number;
  #applied: number;
  #isWriting = false;
  #isBeatDue = false;
  #saidChecksums: ToldChecksums | undefined;
  #saidMembers: string;
  #saidMembersAt: number;
  #toldWholeAt: number;
  #beat: Timer | undefined;
  #appliedTimer: Timer | undefined;

  /** `timeoutMilliseconds`: how long the source's hosts wait for this system. */
  constructor(
    deps: {
      readonly group: Group;
      readonly clock: Clock;
      readonly client: TransportClient;
      readonly caller: Caller;
      readonly body: AnswerBody;
    },
    asked: JournalRead,
    timeoutMilliseconds: number,
    owner: FollowedStreamOwner,
  ) {
    const { group, clock, body, client, caller } = deps;
    this.#group = group;
    this.#clock = clock;
    this.#body = body;
    this.#lease = leaseOf(group);
    this.#owner = owner;
    this.#takesAhead = takesAhead(group);
    this.#received = asked.received;
    this.#applied = asked.applied;
    this.#saidChecksums = asked.checksums;
    this.#saidMembers = formatMembers(asked.members);
    this.#saidMembersAt = this.#toldWholeAt = clock.monotonicMilliseconds();
    this.#beatMilliseconds = beatMillisecondsOf(timeoutMilliseconds);
    const silenceMilliseconds = silenceMillisecondsOf(timeoutMilliseconds);
    this.#exchange = client.request(
      {
        method: 'POST',
        path: paths.stream(group.catalog.groupId),
        headers: {
          ...encodeCaller(caller),
          ...encodeJournalRead({ ...asked, takesAhead: this.#takesAhead }),
        },
        isStream: true,
      },
      { headMilliseconds: Math.min(headMilliseconds, silenceMilliseconds), silenceMilliseconds },
      this,
    );
  }

  /** Nothing is told of it any more. */
  close(): void {
    if (this.#state === 'over') return;
    this.#end();
    this.#exchange.abort();
  }

  head(status: number, headers: WireHeaders): void {
    if (this.#state !== 'asked') return;
    this.#status = status;
    if (status !== 200) return;
    this.#attempt(() => {
      this.#state = 'open';
      this.#body.begin({
        watermarks: (told) => {
          this.#told = told;
        },
        members: (told) => this.#members(told),
      });
      const answer = decodeJournalAnswer(headers);
      this.#answer = answer;
      this.#lease.told(answer.synchronous);
      confirmOnStream(this.#group, answer.watermarks.durable);
      this.#owner.told(answer, true);
      this.#armBeat();
      this.acknowledge();
    });
  }

  body(bytes: Uint8Array): void {
    if (this.#state === 'asked') {
      this.#problemBytes += bytes.length;
      if (this.#problemBytes <= jsonBytesMax) this.#problem.push(Buffer.from(bytes));
    } else if (this.#state === 'open') {
      this.#attempt(() => {
        this.#body.take(bytes);
        this.#taken();
      });
    }
  }

  /** What was refused may find room now. */
  roomAppeared(): void {
    if (this.#state !== 'open' || !this.#body.isBlocked) return;
    this.#attempt(() => {
      this.#body.goOn();
      this.#taken();
      if (!this.#body.isBlocked) this.#exchange.resume();
    });
  }

  ended(): void {
    if (this.#state === 'over') return;
    const { error } =
      this.#state === 'asked'
        ? readProblem(this.#status, Buffer.concat(this.#problem))
        : { error: this.#body.isWhole ? undefined : cutOff() };
    this.#end();
    this.#owner.over(error);
  }

  failed(error: JnbdError): void {
    if (this.#state === 'over') return;
    this.#end();
    this.#owner.over(error);
  }

  /** More may be durable here, or applied. */
  acknowledge(): void {
    if (this.#state !== 'open' || this.#isWriting) return;
    if (this.#takesAhead && !takesAhead(this.#group)) {
      // Somebody follows this system since: another stream brings no more than may go on.
      this.close();
      this.#owner.over(undefined);
      return;
    }
    const { watermarks, changes } = this.#group;
    const received = Math.max(this.#received, changes.settledThrough(watermarks.durable));
    const applied = Math.max(this.#applied, Math.min(watermarks.applied, received));
    if (received > this.#received || this.#isBeatDue) {
      this.#say(received, applied);
    } else if (applied > this.#applied) {
      this.#appliedTimer ??= this.#clock.after(appliedMilliseconds, () => {
        this.#appliedTimer = undefined;
        this.#isBeatDue = true;
        this.acknowledge();
      });
    }
  }

  #say(received: number, applied: number): void {
    this.#isWriting = true;
    this.#isBeatDue = false;
    this.#received = received;
    this.#applied = applied;
    encodeAcknowledgement(this.#view, 0, { serial: this.#lease.sent(), received, applied });
    const members = this.#newMembers();
    const checksums = this.#newChecksums();
    const isMore = members.length > 0 || checksums.length > 0;
    const bytes = isMore ? Buffer.concat([members, checksums, this.#frame]) : this.#frame;
    this.#exchange.write(bytes, () => {
      this.#isWriting = false;
      this.acknowledge();
    });
  }

  /** A frame of them, if the source takes it and something else was found than was said last. */
  #newChecksums(): Uint8Array {
    const { told } = this.#group.checksums;
    if (told === undefined || told === this.#saidChecksums) return nothing;
    if (this.#answer?.takesChecksums !== true) return nothing;
    this.#saidChecksums = told;
    return encodeChecksumsText(formatChecksums(told));
  }

  /** A frame of them, if it is time for one and they are others than were said last. */
  #newMembers(): Uint8Array {
    const now = this.#clock.monotonicMilliseconds();
    if (now - this.#saidMembersAt < membersMilliseconds) return nothing;
    this.#saidMembersAt = now;
    const text = formatMembers(this.#group.followers.members.below());
    if (text === this.#saidMembers) return nothing;
    this.#saidMembers = text;
    return encodeMembersText({ members: text, path: '' });
  }

  /** What arrived whole is wanted durable, before anything else is done: hosts of the source wait for it. */
  #taken(): void {
    const { watermarks, journal, state } = this.#group;
    const isDurable = state !== 'normal' || watermarks.durable === watermarks.newest;
    const isWanted = this.#body.isBetweenFrames || this.#body.isBlocked;
    if (!isDurable && isWanted) journal.requestDurable();
    const told = this.#told;
    this.#told = undefined;
    if (told) this.#watermarks(told);
    if (this.#body.isBlocked && this.#state === 'open') this.#block();
  }

  /**
   * There is room once more was applied. Of what is held for the source, that waits for a word which would come
   * behind what finds no room: then reads go on, which are told it first.
   */
  #block(): void {
    const { replies, watermarks } = this.#group;
    if (replies.gate.confirmed < watermarks.newest) {
      this.close();
      this.#owner.over(undefined);
      return;
    }
    this.#exchange.pause();
    this.#owner.blocked();
  }

  #watermarks({ heard, timeoutMilliseconds, ...told }: StreamWatermarks): void {
    const { released, applied, durable, newest, ...rest } = told;
    const { catalog, watermarks } = this.#group;
    const synchronous = timeoutMilliseconds === 0 ? undefined : { heard, timeoutMilliseconds };
    const { path, members, takesChecksums = false } = must(this.#answer, 'the head came first');
    this.#answer = {
      ...rest,
      first: watermarks.newest + 1,
      through: positionOf(catalog.lineage, watermarks.newest),
      watermarks: { released, applied, durable, newest },
      path,
      members,
      synchronous,
      takesChecksums,
    };
    this.#lease.told(synchronous);
    confirmOnStream(this.#group, durable);
    const now = this.#clock.monotonicMilliseconds();
    const isWhole = now - this.#toldWholeAt >= membersMilliseconds;
    if (isWhole) this.#toldWholeAt = now;
    this.#owner.told(this.#answer, isWhole);
  }

  #members({ members, path }: StreamMembersText): void {
    this.#answer = {
      ...must(this.#answer, 'the head came first'),
      members: parseMembers(members),
      path: path === '' ? [] : decodePath(path),
    };
    this.#owner.told(this.#answer, true);
  }

  #armBeat(): void {
    this.#beat = this.#clock.after(this.#beatMilliseconds, () => {
      this.#armBeat();
      this.#isBeatDue = true;
      this.acknowledge();
    });
  }

  #attempt(run: () => void): void {
    try {
      run();
    } catch (error) {
      if (!(error instanceof JnbdError)) throw error;
      this.close();
      this.#owner.failed(error);
    }
  }

  #end(): void {
    this.#state = 'over';
    this.#beat?.cancel();
    this.#appliedTimer?.cancel();
  }
}

function cutOff(): JnbdError {
  return new JnbdError('connection_lost', 'the stream of the source was cut off');
}
