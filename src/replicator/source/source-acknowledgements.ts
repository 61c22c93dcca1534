import type { Acknowledgement } from '../../group/followers/follower-cursor.ts';
import type { Clock } from '../../platform/clock.ts';
import type { FromSource, ToldAcknowledgement } from './source-messages.ts';
import type { SourceReader } from './source-reader.ts';
import type { JournalRead } from '../protocol/wire.ts';

/** One that has nothing new to say is still told of, so that it counts as heard. */
const repeatMilliseconds = 1000;

/** What counts of a read, or of what is said on a stream. */
export type ToldByRead = Pick<
  JournalRead,
  | 'received'
  | 'applied'
  | 'copied'
  | 'ranges'
  | 'members'
  | 'againMilliseconds'
  | 'serial'
  | 'checksums'
>;

interface Told extends Acknowledgement {
  readonly membersText: string;
  readonly checksumsText: string;
  readonly atMilliseconds: number;
}

/** What reads say of how far followers are goes to the main thread, all of one turn in one message. */
export class SourceAcknowledgements {
  readonly #clock: Clock;
  readonly #post: (message: FromSource) => void;
  readonly #told = new WeakMap<SourceReader, Told>();
  readonly #pending = new Map<SourceReader, ToldAcknowledgement>();

  constructor(clock: Clock, post: (message: FromSource) => void) {
    this.#clock = clock;
    this.#post = post;
  }

  /** `isAwaited`: a host may wait for it, so it goes at once. */
  note(groupId: string, reader: SourceReader, read: ToldByRead, isAwaited = false): void {
    const { systemId, sent } = reader;
    const { received, applied, copied, againMilliseconds, serial } = read;
    const isResyncing = read.ranges.length > 0;
    const told = this.#told.get(reader);
    const membersText =
      read.members === told?.members ? told.membersText : JSON.stringify(read.members);
    const members = membersText === told?.membersText ? undefined : read.members;
    const checksumsText =
      read.checksums === told?.checksums
        ? (told?.checksumsText ?? '')
        : JSON.stringify(read.checksums ?? '');
    const checksums = checksumsText === told?.checksumsText ? undefined : read.checksums;
    const now = this.#clock.monotonicMilliseconds();
    // What comes within the time of a repetition is not told.
    const dueMilliseconds = againMilliseconds && againMilliseconds + repeatMilliseconds;
    const isNews =
      told === undefined ||
      serial !== undefined ||
      received !== told.received ||
      applied !== told.applied ||
      sent !== told.sent ||
      copied.length > 0 ||
      told.copied.length > 0 ||
      isResyncing !== told.isResyncing ||
      dueMilliseconds !== told.dueMilliseconds ||
      membersText !== told.membersText ||
      checksums !== undefined ||
      now - told.atMilliseconds >= repeatMilliseconds;
    if (!isNews) return;
    const said = { received, applied, copied, isResyncing };
    const acknowledgement = { systemId, sent, dueMilliseconds, ...said };
    const texts = { membersText, checksumsText };
    const remembered = { members: read.members, checksums: read.checksums, atMilliseconds: now };
    this.#told.set(reader, { ...acknowledgement, ...texts, ...remembered });
    const pending = this.#pending.get(reader);
    const hadPending = this.#pending.size > 0;
    this.#pending.set(reader, {
      groupId,
      ...acknowledgement,
      serial,
      members: members ?? pending?.members,
      checksums: checksums ?? pending?.checksums,
    });
    if (isAwaited) this.#postPending();
    else if (!hadPending) this.#clock.soon(() => this.#postPending());
  }

  #postPending(): void {
    if (this.#pending.size === 0) return;
    const acknowledgements = [...this.#pending.values()];
    this.#pending.clear();
    this.#post({ kind: 'acknowledged', acknowledgements });
  }
}
