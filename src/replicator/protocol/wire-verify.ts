/** What systems ask each other to compare what they have; PROTOCOL.md, "Verifying". Pure. */
import { z } from 'zod';
import { blockBytes, KiB, MiB, namePattern, updateNumberMax } from '../../platform/limits.ts';
import { hashUnitBytes } from '../../volume/unit-hashes.ts';
import { isGroupId, type WireHeaders } from './wire.ts';
import { wholeNumber, wrongHeader } from './wire-headers.ts';

/** What one answer is about at most: its hashes, or contents. */
export const viewRangeBytesMax = 64 * MiB;
export const fineRangeBytesMax = 4 * MiB;
export const contentsBytesMax = 256 * KiB;

/** A part of a volume as a snapshot has it. */
export interface ViewRange {
  readonly offset: number;
  readonly length: number;
}

export type VerifyRoute =
  /** POST: a snapshot to compare by is to be made. */
  | { readonly kind: 'begin'; readonly groupId: string }
  /** POST: it is still needed. DELETE: it is not. */
  | { readonly kind: 'renew' | 'end'; readonly groupId: string; readonly number: number }
  /** GET: what is damaged beside the volumes. */
  | { readonly kind: 'checks'; readonly groupId: string }
  /** GET */
  | {
      readonly kind: 'hashes' | 'contents';
      readonly groupId: string;
      readonly number: number;
      readonly volume: number;
    };

export const verifyPaths = {
  begin: (groupId: string) => `/v1/groups/${groupId}/verifications`,
  one: (groupId: string, number: number) => `/v1/groups/${groupId}/verifications/${number}`,
  checks: (groupId: string) => `/v1/groups/${groupId}/checks`,
  view: (groupId: string, number: number, volume: number, what: 'hashes' | 'contents') =>
    `/v1/groups/${groupId}/snapshots/${number}/volumes/${volume}/${what}`,
} as const;

const group = '/v1/groups/([0-9a-f]{32})';
const beginPattern = new RegExp(`^${group}/verifications$`);
const onePattern = new RegExp(`^${group}/verifications/(\\d{1,15})$`);
const checksPattern = new RegExp(`^${group}/checks$`);
const viewPattern = new RegExp(
  `^${group}/snapshots/(\\d{1,15})/volumes/(\\d{1,5})/(hashes|contents)$`,
);

/** `undefined`: it is about something else. */
export function verifyRouteOf(method: string, path: string): VerifyRoute | undefined {
  const [, groupId = '', number = '', volume = '', what = ''] =
    beginPattern.exec(path) ??
    onePattern.exec(path) ??
    checksPattern.exec(path) ??
    viewPattern.exec(path) ??
    [];
  if (!isGroupId(groupId)) return undefined;
  if (what === 'hashes' || what === 'contents') {
    if (method !== 'GET') return undefined;
    return { kind: what, groupId, number: Number(number), volume: Number(volume) };
  }
  if (path.endsWith('/checks')) return method === 'GET' ? { kind: 'checks', groupId } : undefined;
  if (number === '') return method === 'POST' ? { kind: 'begin', groupId } : undefined;
  const kind = method === 'POST' ? 'renew' : method === 'DELETE' ? 'end' : undefined;
  return kind && { kind, groupId, number: Number(number) };
}

export function encodeViewRange({ offset, length }: ViewRange, unitBytes?: number): WireHeaders {
  return {
    'jnbd-offset': String(offset),
    'jnbd-length': String(length),
    ...(unitBytes === undefined ? {} : { 'jnbd-unit': String(unitBytes) }),
  };
}

/** Throws JnbdError protocol_violated. */
export function decodeHashedRange(
  headers: WireHeaders,
): ViewRange & { readonly unitBytes: number } {
  const unitBytes = wholeNumber(headers, 'jnbd-unit', hashUnitBytes);
  if (unitBytes !== hashUnitBytes && unitBytes !== blockBytes)
    wrongHeader('jnbd-unit', String(unitBytes), `${hashUnitBytes} or ${blockBytes}`);
  const lengthMax = unitBytes === hashUnitBytes ? viewRangeBytesMax : fineRangeBytesMax;
  return { ...decodeRange(headers, unitBytes, lengthMax), unitBytes };
}

/** Throws JnbdError protocol_violated. */
export function decodeContentsRange(headers: WireHeaders): ViewRange {
  return decodeRange(headers, blockBytes, contentsBytesMax);
}

function decodeRange(headers: WireHeaders, unitBytes: number, lengthMax: number): ViewRange {
  const offset = wholeNumber(headers, 'jnbd-offset', updateNumberMax);
  const length = wholeNumber(headers, 'jnbd-length', lengthMax);
  if (offset % unitBytes !== 0)
    wrongHeader('jnbd-offset', String(offset), `a multiple of ${unitBytes}`);
  if (length === 0) wrongHeader('jnbd-length', '0', `from 1 to ${lengthMax}`);
  return { offset, length };
}

/** The answer to `begin` and `renew`. */
export const begunSchema = z.object({ number: z.int().min(1).max(updateNumberMax) });

/** The answer to `checks`. */
export const checksSchema = z.object({
  name: z.string().regex(namePattern),
  /** It keeps no volumes, so there is nothing to compare. */
  journalOnly: z.boolean(),
  /** Why it cannot be compared with now; empty: it can. */
  obstacle: z.string().max(8192),
  damages: z
    .array(
      z.object({
        file: z.string().max(4096),
        place: z.string().max(1000),
        text: z.string().max(8192),
      }),
    )
    .max(100_000),
});
export type ToldChecks = z.infer<typeof checksSchema>;
