/**
 * What the main thread and the source worker tell each other. Messages arrive in order: whoever is
 * told of a number was told of the segment that it stands in.
 */
import type { Acknowledgement } from '../../group/followers/follower-cursor.ts';
import type { Lineage } from '../../group/catalog/lineage.ts';
import type { Member } from '../../group/catalog/members.ts';
import type { FollowerState, GroupRole, GroupState } from '../../group/catalog/states.ts';
import type { ErrorCode } from '../../platform/errors.ts';
import type { IncomingRequest, TransportListenOptions } from '../transport/transport.ts';
import type { WireHeaders, WireWatermarks } from '../protocol/wire.ts';

export interface SourceSegmentPlace {
  readonly sequence: number;
  readonly path: string;
  readonly salt: number;
  readonly timeBaseMilliseconds: number;
  /** A number stands in the last segment that begins at or before it; 0: not known, of the oldest. */
  readonly beginsAt: number;
}

export interface SourceVolume {
  readonly id: number;
  /** Empty where there is nothing to be copied, or nothing that can be believed. */
  readonly path: string;
  readonly sizeBytes: number;
}

export interface SourceFollower {
  readonly systemId: number;
  readonly name: string;
  readonly state: FollowerState;
  /** How long replies to hosts may wait for it; 0: they never do. */
  readonly timeoutMilliseconds: number;
}

/** The newest acknowledgement of a follower that was told to the group, by the serial that it has. */
export interface HeardSerial {
  readonly systemId: number;
  readonly serial: number;
}

/** What changes rarely of a group. */
export interface GroupPicture {
  readonly groupId: string;
  readonly name: string;
  readonly role: GroupRole;
  readonly state: GroupState;
  /** For people, where the state is not normal. */
  readonly stateText: string;
  /** False: its journal was damaged, or is not open yet. */
  readonly isReadable: boolean;
  readonly lineage: Lineage;
  readonly volumes: readonly SourceVolume[];
  /** `volumes` are those after this change of the catalog. */
  readonly catalogNumber: number;
  /** Until this is applied, volumes may show what no record of this journal explains. */
  readonly contentsFrom: number;
  readonly followers: readonly SourceFollower[];
  /** This system, its source, and so on, as far as is known. */
  readonly path: readonly number[];
  /** For contents of volumes, to all followers together; undefined: no bound. */
  readonly copyBytesPerSecond: number | undefined;
}

/** What changes all the time. */
export interface JournalProgress {
  /** In order of sequence. */
  readonly added: readonly SourceSegmentPlace[];
  /** Sequences of segments that are there no more. */
  readonly removed: readonly number[];
  /** Where the journal ends, durable or not. */
  readonly tail: { readonly sequence: number; readonly offset: number };
  readonly watermarks: WireWatermarks;
  /** The highest number that anybody may be given: durable, and its stretch of the lineage too. */
  readonly servable: number;
  /** The highest that may be sent to followers that replies wait for: at least `servable`, durable or not. */
  readonly ahead: number;
  readonly usedBytes: number;
  readonly capacityBytes: number;
  /** Everybody else who has the group. */
  readonly members: readonly Member[];
  readonly heard: readonly HeardSerial[];
}

/** What moves with every write that replies wait for. */
export interface AppendedRecords {
  readonly ahead: number;
  readonly servable: number;
  readonly newest: number;
  readonly sequence: number;
  readonly offset: number;
}

/** What the worker tells of a follower; `serial`: of what it said, if it wants to know whether that counts. */
export interface ToldAcknowledgement extends Acknowledgement {
  readonly groupId: string;
  readonly serial?: number | undefined;
}

/** What can be said in a message: the rest is the worker's own. */
export type SourceListenOptions = Omit<TransportListenOptions, 'rightsOf' | 'refused'>;

export type ToSource =
  /** `listening` or `listen_failed` follows. */
  | { readonly kind: 'listen'; readonly options: SourceListenOptions }
  | {
      readonly kind: 'group';
      readonly picture: GroupPicture;
      /** A BigInt64: the group's `durable`, stored before anything that it covers is applied. */
      readonly durable: SharedArrayBuffer;
    }
  /** `isOpening`: it comes back. */
  | { readonly kind: 'group_gone'; readonly groupId: string; readonly isOpening: boolean }
  | { readonly kind: 'progress'; readonly groupId: string; readonly progress: JournalProgress }
  /** Of the segment that the last progress ended in: records stand there that replies to hosts wait for. */
  | ({ readonly kind: 'appended'; readonly groupId: string } & AppendedRecords)
  /** To a forwarded request. */
  | {
      readonly kind: 'answer';
      readonly request: number;
      readonly status: number;
      readonly headers: WireHeaders;
      readonly body: Uint8Array;
    }
  /** Waiting reads are answered, others have so long to end; `stopped` follows. */
  | { readonly kind: 'stop'; readonly milliseconds: number };

export type FromSource =
  | { readonly kind: 'listening'; readonly host: string; readonly port: number }
  | { readonly kind: 'listen_failed'; readonly code: ErrorCode; readonly message: string }
  /** Somebody waits for news of this group: one `progress`, when there is any; `isUrgent`: in any case. */
  | { readonly kind: 'ask'; readonly groupId: string; readonly isUrgent: boolean }
  | {
      readonly kind: 'acknowledged';
      readonly acknowledgements: readonly ToldAcknowledgement[];
    }
  /** Somebody is sent whatever becomes durable: news are wanted at once, until they are not. */
  | { readonly kind: 'watch'; readonly groupId: string; readonly isOn: boolean }
  /** Somebody was not let in. */
  | { readonly kind: 'refused'; readonly peer: string; readonly why: string }
  /** Whatever is no journal read: `answer` has to follow. */
  | { readonly kind: 'request'; readonly request: number; readonly incoming: IncomingRequest }
  /** A record that must be there cannot be read; undefined: it can be again. */
  | { readonly kind: 'trouble'; readonly groupId: string; readonly message: string | undefined }
  | { readonly kind: 'stopped' };
