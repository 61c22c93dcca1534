/**
 * What a follower and its source say to each other; PROTOCOL.md has every byte and header. Pure: text
 * and numbers, nothing of HTTP/2.
 */
import type { ToldChecksums } from '../../group/apply/compared-points.ts';
import type { Position, Stretch } from '../../group/catalog/lineage.ts';
import type { Member } from '../../group/catalog/members.ts';
import { JnbdError } from '../../platform/errors.ts';
import {
  GiB,
  KiB,
  MiB,
  namePattern,
  slabBytes,
  slabHeadroomBytes,
  updateNumberMax,
} from '../../platform/limits.ts';
import {
  numbersIn,
  parseWhole,
  required,
  type WireHeaders,
  wholeNumber,
  wrongHeader as wrong,
} from './wire-headers.ts';
import { decodeChecksums, encodeChecksums } from './wire-checksums.ts';
import { decodeMembers, encodeMembers } from './wire-members.ts';
import { decodeRanges, formatRange, type WantedRange } from './wire-ranges.ts';

export type { Member, Position, Stretch, WantedRange, WireHeaders };

export const protocolVersion = 1;

/** Frames of records are cut at this; a single longer record makes a longer frame. */
export const frameBytesMax = 192 * KiB;
/** What the records of one frame may take, so that they fit a receive slab. */
export const recordsBytesMax = slabBytes - slabHeadroomBytes;
/** Contents in one copy frame; holes have any length. */
export const copyBytesMax = 128 * KiB;
export const batchBytesMin = 64 * KiB;
export const batchBytesMax = 64 * MiB;
export const waitMillisecondsMax = 60_000;
/** Volumes that one journal read can name as being copied. */
export const copiedVolumesMax = 128;
/** Systems in a row that follow each other, as far as is told. */
export const pathSystemsMax = 32;
/** Names and values of all headers of a request or an answer. */
export const headersBytesMax = 16 * KiB;
/** A request's body, and an answer's that is JSON: a lineage and a catalog. */
export const jsonBytesMax = 4 * MiB;
/** More than any journal answer can have: what it says of itself is believed up to here. */
export const answerBytesMax = 1 * GiB;

/** Who asks: stands in every request. */
export interface Caller {
  readonly systemId: number;
  readonly name: string;
}

/** How far the copy of one volume has come: everything below `address` is durable at the follower. */
export interface CopiedVolume {
  readonly volume: number;
  readonly address: number;
}

export interface JournalRead {
  /** Of the last record that the follower has or has asked for: the answer begins behind it. */
  readonly position: Position;
  /** Everything up to here is durable at the follower. */
  readonly received: number;
  /** Everything up to here is in the follower's volumes; for a journal-only group equal to `received`. */
  readonly applied: number;
  /** The follower takes no more frame bytes than this in one answer, except for a single record. */
  readonly batchBytes: number;
  /** How long the source may wait when there is nothing to answer; 0: not at all. */
  readonly waitMilliseconds: number;
  /** It asks again by then, counted from this read; undefined: it did not say. */
  readonly againMilliseconds?: number | undefined;
  /** An earlier answer did not arrive whole: what was sent behind `position` and `copied` is asked again. */
  readonly isRetry: boolean;
  /** The volumes whose contents are wanted, each from its address on. Others are not copied. */
  readonly copied: readonly CopiedVolume[];
  /** Parts of volumes that are wanted, in this order; what does not come is asked for again. */
  readonly ranges: readonly WantedRange[];
  /** Who follows the follower, and who follows them, as far as it knows. */
  readonly members: readonly Member[];
  /** Of this acknowledgement, where the follower wants to know whether it was heard: it rises with each. */
  readonly serial?: number | undefined;
  /** Of a stream: it may bring what the source does not have durably yet, and says how far that is. */
  readonly takesAhead?: boolean;
  /** What it found where checksums were compared; undefined: nothing yet, or it does not say. */
  readonly checksums?: ToldChecksums | undefined;
}

export interface WireWatermarks {
  readonly released: number;
  readonly applied: number;
  readonly durable: number;
  readonly newest: number;
}

/** The head of an answer to a journal read: status 200 with frames, or 204 without a body. */
export interface JournalAnswer {
  /** Number of the first record; with `first` above `through.number` there is none. */
  readonly first: number;
  /** Of the last record, or where the read began: what the next read asks behind. */
  readonly through: Position;
  readonly watermarks: WireWatermarks;
  readonly usedBytes: number;
  readonly capacityBytes: number;
  /** Unix time at the source. */
  readonly timeMilliseconds: number;
  /** What stands behind `through` in the source's journal, durable or not. */
  readonly unsentBytes: number;
  /** Age of the oldest record behind `through`; 0 when there is none. */
  readonly oldestUnsentMilliseconds: number;
  /** Whom the records come through: the source, its source, and so on, as far as is known. */
  readonly path: readonly number[];
  /** Everybody but the source itself who has the group, as far as it knows. */
  readonly members: readonly Member[];
  /** Of a source whose replies to hosts may wait for this follower. */
  readonly synchronous?: SynchronousTold | undefined;
  /** Of a stream: the source takes frames of what was found where checksums were compared. */
  readonly takesChecksums?: boolean;
}

export interface SynchronousTold {
  /** Serial of the follower's newest acknowledgement that counts; 0: none. */
  readonly heard: number;
  /** How long replies wait for a follower that is silent. */
  readonly timeoutMilliseconds: number;
}

export const paths = {
  /** POST: registers. */
  followers: (groupName: string) => `/v1/groups/${groupName}/followers`,
  /** DELETE: unregisters. */
  follower: (groupId: string, systemId: number) => `/v1/groups/${groupId}/followers/${systemId}`,
  /** GET: which history the system has. */
  lineage: (groupId: string) => `/v1/groups/${groupId}/lineage`,
  /** GET: the journal read. */
  journal: (groupId: string) => `/v1/groups/${groupId}/journal`,
  /** POST: the journal as it grows. */
  stream: (groupId: string) => `/v1/groups/${groupId}/stream`,
} as const;

export type WireRoute =
  | { readonly kind: 'register'; readonly groupName: string }
  | { readonly kind: 'unregister'; readonly groupId: string; readonly systemId: number }
  | { readonly kind: 'journal'; readonly groupId: string }
  | { readonly kind: 'stream'; readonly groupId: string }
  | { readonly kind: 'lineage'; readonly groupId: string };

/** `undefined`: a path or method of something else than replication. */
export function routeOf(method: string, path: string): WireRoute | undefined {
  const match =
    /^\/v1\/groups\/([A-Za-z0-9][A-Za-z0-9._-]{0,63})\/(?:(journal|lineage|stream)|followers(?:\/(\d{1,15}))?)$/.exec(
      path,
    );
  const group = match?.[1];
  if (group === undefined) return undefined;
  const systemId = match?.[3];
  const read = match?.[2];
  if (read === 'journal' || read === 'lineage') {
    return method === 'GET' && isGroupId(group) ? { kind: read, groupId: group } : undefined;
  }
  if (read === 'stream') {
    return method === 'POST' && isGroupId(group) ? { kind: read, groupId: group } : undefined;
  }
  if (systemId === undefined) {
    return method === 'POST' ? { kind: 'register', groupName: group } : undefined;
  }
  if (method !== 'DELETE' || !isGroupId(group) || Number(systemId) > updateNumberMax) {
    return undefined;
  }
  return { kind: 'unregister', groupId: group, systemId: Number(systemId) };
}

export function isGroupId(text: string): boolean {
  return /^[0-9a-f]{32}$/.test(text);
}

export function encodeCaller({ systemId, name }: Caller): WireHeaders {
  return {
    'jnbd-protocol': String(protocolVersion),
    'jnbd-system': String(systemId),
    'jnbd-name': name,
  };
}

/** Throws JnbdError: protocol_unsupported for another version, protocol_violated for what is none. */
export function decodeCaller(headers: WireHeaders): Caller {
  const version = wholeNumber(headers, 'jnbd-protocol', 0xffff);
  if (version !== protocolVersion) {
    throw new JnbdError(
      'protocol_unsupported',
      `the follower speaks version ${version} of the replication protocol, this system version ${protocolVersion}; run the same release of jnbd on both`,
    );
  }
  const name = required(headers, 'jnbd-name');
  if (!namePattern.test(name)) wrong('jnbd-name', name, "a system's name");
  return { systemId: wholeNumber(headers, 'jnbd-system', updateNumberMax), name };
}

export function formatPosition({ generation, incarnation, number }: Position): string {
  return `${generation}:${incarnation}:${number}`;
}

/** `undefined` unless it is `GENERATION:INCARNATION:NUMBER`, each in its range. */
export function parsePosition(text: string): Position | undefined {
  const parts = text.split(':');
  if (parts.length !== 3) return undefined;
  const generation = parseWhole(parts[0], 0xffff_ffff);
  const incarnation = parseWhole(parts[1], updateNumberMax);
  const number = parseWhole(parts[2], updateNumberMax);
  if (generation === undefined || incarnation === undefined || number === undefined) {
    return undefined;
  }
  return { generation, incarnation, number };
}

/** Caller's headers not included. */
export function encodeJournalRead(read: JournalRead): WireHeaders {
  const { copied, ranges } = read;
  return {
    'jnbd-position': formatPosition(read.position),
    'jnbd-received': String(read.received),
    'jnbd-applied': String(read.applied),
    'jnbd-batch-bytes': String(read.batchBytes),
    'jnbd-wait-ms': String(read.waitMilliseconds),
    ...(read.againMilliseconds === undefined
      ? {}
      : { 'jnbd-again-ms': String(read.againMilliseconds) }),
    'jnbd-retry': read.isRetry ? '1' : '0',
    ...(copied.length === 0
      ? {}
      : {
          'jnbd-copied': copied.map(({ volume, address }) => `${volume}=${address}`).join(','),
        }),
    ...(ranges.length === 0 ? {} : { 'jnbd-ranges': ranges.map(formatRange).join(',') }),
    ...encodeMembers(read.members),
    ...(read.serial === undefined ? {} : { 'jnbd-serial': String(read.serial) }),
    ...(read.takesAhead === true ? { 'jnbd-ahead': '1' } : {}),
    ...encodeChecksums(read.checksums),
  };
}

/** Batch size and wait are brought into their bounds. Throws JnbdError protocol_violated. */
export function decodeJournalRead(headers: WireHeaders): JournalRead {
  const received = wholeNumber(headers, 'jnbd-received', updateNumberMax);
  const applied = wholeNumber(headers, 'jnbd-applied', updateNumberMax);
  const position = positionIn(headers, 'jnbd-position');
  if (applied > received) wrong('jnbd-applied', String(applied), `at most ${received}, received`);
  if (received > position.number) {
    wrong('jnbd-received', String(received), `at most ${position.number}, the position`);
  }
  const batchBytes = wholeNumber(headers, 'jnbd-batch-bytes', Number.MAX_SAFE_INTEGER);
  return {
    position,
    received,
    applied,
    batchBytes: Math.min(Math.max(batchBytes, batchBytesMin), batchBytesMax),
    waitMilliseconds: Math.min(
      wholeNumber(headers, 'jnbd-wait-ms', Number.MAX_SAFE_INTEGER),
      waitMillisecondsMax,
    ),
    ...(headers['jnbd-again-ms'] === undefined
      ? {}
      : {
          againMilliseconds: wholeNumber(headers, 'jnbd-again-ms', Number.MAX_SAFE_INTEGER),
        }),
    isRetry: wholeNumber(headers, 'jnbd-retry', 1) === 1,
    copied: decodeCopied(headers['jnbd-copied']),
    ranges: decodeRanges(headers['jnbd-ranges']),
    members: decodeMembers(headers),
    ...(headers['jnbd-serial'] === undefined
      ? {}
      : { serial: wholeNumber(headers, 'jnbd-serial', updateNumberMax) }),
    ...(headers['jnbd-ahead'] === '1' ? { takesAhead: true } : {}),
    ...decodeChecksums(headers),
  };
}

function decodeCopied(text: string | undefined): CopiedVolume[] {
  if (text === undefined) return [];
  const pairs = text.split(',', copiedVolumesMax + 1);
  if (pairs.length > copiedVolumesMax) {
    wrong('jnbd-copied', `${text.slice(0, 40)}...`, `at most ${copiedVolumesMax} volumes`);
  }
  const seen = new Set<number>();
  return pairs.map((pair) => {
    const [id, address, ...more] = pair.split('=');
    const volume = parseWhole(id, 0xffff);
    const at = parseWhole(address, updateNumberMax);
    if (volume === undefined || at === undefined || more.length > 0 || seen.has(volume)) {
      return wrong('jnbd-copied', pair.slice(0, 40), 'ID=ADDRESS, each volume once');
    }
    seen.add(volume);
    return { volume, address: at };
  });
}

export function encodeJournalAnswer(answer: JournalAnswer): WireHeaders {
  const { released, applied, durable, newest } = answer.watermarks;
  return {
    'jnbd-first': String(answer.first),
    'jnbd-through': formatPosition(answer.through),
    'jnbd-watermarks': `${released},${applied},${durable},${newest}`,
    'jnbd-fill': `${answer.usedBytes},${answer.capacityBytes}`,
    'jnbd-time': String(answer.timeMilliseconds),
    'jnbd-unsent-bytes': String(answer.unsentBytes),
    'jnbd-oldest-unsent-ms': String(answer.oldestUnsentMilliseconds),
    ...(answer.path.length === 0 ? {} : { 'jnbd-path': answer.path.join(',') }),
    ...encodeMembers(answer.members),
    ...encodeSynchronous(answer.synchronous),
    ...(answer.takesChecksums === true ? { 'jnbd-checksums': '1' } : {}),
  };
}

function encodeSynchronous(told: SynchronousTold | undefined): WireHeaders {
  return told ? { 'jnbd-sync': `${told.heard},${told.timeoutMilliseconds}` } : {};
}

function decodeSynchronous(headers: WireHeaders): Pick<JournalAnswer, 'synchronous'> {
  if (headers['jnbd-sync'] === undefined) return {};
  const [heard = 0, timeoutMilliseconds = 0] = numbersIn(headers, 'jnbd-sync', 2, updateNumberMax);
  return { synchronous: { heard, timeoutMilliseconds } };
}

/** Throws JnbdError protocol_violated. Watermarks stand in their order. */
export function decodeJournalAnswer(headers: WireHeaders): JournalAnswer {
  const first = wholeNumber(headers, 'jnbd-first', updateNumberMax + 1);
  const through = positionIn(headers, 'jnbd-through');
  if (first < 1 || first > through.number + 1) {
    wrong('jnbd-first', String(first), `from 1 to ${through.number + 1}, behind jnbd-through`);
  }
  const watermarks = numbersIn(headers, 'jnbd-watermarks', 4, updateNumberMax);
  const [released = 0, applied = 0, durable = 0, newest = 0] = watermarks;
  if (released > applied || applied > durable || durable > newest) {
    wrong('jnbd-watermarks', watermarks.join(','), 'released, applied, durable, newest, rising');
  }
  const fill = numbersIn(headers, 'jnbd-fill', 2, Number.MAX_SAFE_INTEGER);
  const [usedBytes = 0, capacityBytes = 0] = fill;
  return {
    first,
    through,
    watermarks: { released, applied, durable, newest },
    usedBytes,
    capacityBytes,
    timeMilliseconds: wholeNumber(headers, 'jnbd-time', Number.MAX_SAFE_INTEGER),
    unsentBytes: wholeNumber(headers, 'jnbd-unsent-bytes', Number.MAX_SAFE_INTEGER),
    oldestUnsentMilliseconds: wholeNumber(
      headers,
      'jnbd-oldest-unsent-ms',
      Number.MAX_SAFE_INTEGER,
    ),
    path: decodePath(headers['jnbd-path']),
    members: decodeMembers(headers),
    ...decodeSynchronous(headers),
    ...(headers['jnbd-checksums'] === '1' ? { takesChecksums: true } : {}),
  };
}

/** Throws JnbdError protocol_violated. */
export function decodePath(text: string | undefined): number[] {
  if (text === undefined) return [];
  const ids = text.split(',', pathSystemsMax + 1).map((part) => parseWhole(part, updateNumberMax));
  if (ids.length > pathSystemsMax || ids.includes(undefined)) {
    wrong('jnbd-path', text, `at most ${pathSystemsMax} ids of systems with commas between`);
  }
  return ids as number[];
}

/** Throws JnbdError protocol_violated. */
export function positionIn(headers: WireHeaders, name: string): Position {
  const text = required(headers, name);
  return parsePosition(text) ?? wrong(name, text, 'GENERATION:INCARNATION:NUMBER');
}
