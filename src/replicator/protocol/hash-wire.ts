/** Hashes of volumes' contents on the wire; PROTOCOL.md, "Hashes". Pure. */
import { JnbdError } from '../../platform/errors.ts';
import { MiB, updateNumberMax } from '../../platform/limits.ts';
import { hashUnitBytes } from '../../volume/unit-hashes.ts';
import type { Position } from '../../group/catalog/lineage.ts';
import { formatPosition, isGroupId, positionIn, type WireHeaders } from './wire.ts';

/** How much of a volume one answer is about at most: a thousand hashes. */
export const hashRangeBytesMax = 64 * MiB;

export interface HashRange {
  /** The beginning of a unit. */
  readonly offset: number;
  readonly length: number;
}

export interface HashAnswer {
  /** Size of the volume at the source; the last unit ends there. */
  readonly sizeBytes: number;
  /** What was hashed holds nothing of a record above this number of the source's history. */
  readonly shows: Position;
}

export function hashesPath(groupId: string, volume: number): string {
  return `/v1/groups/${groupId}/volumes/${volume}/hashes`;
}

/** `undefined`: it is about something else. */
export function hashRouteOf(
  method: string,
  path: string,
): { readonly groupId: string; readonly volume: number } | undefined {
  const match = /^\/v1\/groups\/([0-9a-f]{32})\/volumes\/(\d{1,5})\/hashes$/.exec(path);
  const volume = Number(match?.[2] ?? Number.NaN);
  const groupId = match?.[1] ?? '';
  if (method !== 'GET' || !isGroupId(groupId) || !(volume <= 0xffff)) return undefined;
  return { groupId, volume };
}

export function encodeHashRange({ offset, length }: HashRange): WireHeaders {
  return { 'jnbd-offset': String(offset), 'jnbd-length': String(length) };
}

/** Throws JnbdError protocol_violated. */
export function decodeHashRange(headers: WireHeaders): HashRange {
  const offset = numberIn(headers, 'jnbd-offset');
  const length = numberIn(headers, 'jnbd-length');
  if (offset % hashUnitBytes !== 0) {
    throw new JnbdError(
      'protocol_violated',
      `header jnbd-offset is '${offset}', not a multiple of ${hashUnitBytes}`,
    );
  }
  if (length === 0 || length > hashRangeBytesMax) {
    throw new JnbdError(
      'protocol_violated',
      `header jnbd-length is '${length}', not from 1 to ${hashRangeBytesMax}`,
    );
  }
  return { offset, length };
}

export function encodeHashAnswer({ sizeBytes, shows }: HashAnswer): WireHeaders {
  return { 'jnbd-size': String(sizeBytes), 'jnbd-shows': formatPosition(shows) };
}

/** Throws JnbdError protocol_violated. */
export function decodeHashAnswer(headers: WireHeaders): HashAnswer {
  return { sizeBytes: numberIn(headers, 'jnbd-size'), shows: positionIn(headers, 'jnbd-shows') };
}

function numberIn(headers: WireHeaders, name: string): number {
  const text = headers[name] ?? '';
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (value <= updateNumberMax) return value;
  throw new JnbdError(
    'protocol_violated',
    `header ${name} is '${text.slice(0, 80)}', not a whole number up to ${updateNumberMax}`,
  );
}
