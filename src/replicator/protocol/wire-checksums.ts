import type { ToldChecksums } from '../../group/apply/compared-points.ts';
import { updateNumberMax } from '../../platform/limits.ts';
import { parseWhole, type WireHeaders, wrongHeader as wrong } from './wire-headers.ts';

/** Volumes that one message can name; more of them are no more news. */
export const differingMax = 64;
const headerName = 'jnbd-checksums';
const right = `off, or COMPARED,AGREED,MILLISECONDS and up to ${differingMax} ids of volumes`;

/** Left out where nothing was compared yet. */
export function encodeChecksums(told: ToldChecksums | undefined): WireHeaders {
  return told === undefined ? {} : { [headerName]: formatChecksums(told) };
}

/** The same as a text. */
export function formatChecksums(told: ToldChecksums): string {
  if (told === 'off') return told;
  const { compared, agreed, differing } = told;
  const { number, atMilliseconds } = agreed ?? { number: 0, atMilliseconds: 0 };
  return [compared, number, atMilliseconds, ...differing.slice(0, differingMax)].join(',');
}

/** Throws JnbdError protocol_violated. */
export function decodeChecksums(headers: WireHeaders): { readonly checksums?: ToldChecksums } {
  const text = headers[headerName];
  return text === undefined ? {} : { checksums: parseChecksums(text) };
}

/** What `formatChecksums` makes. Throws JnbdError protocol_violated. */
export function parseChecksums(text: string): ToldChecksums {
  if (text === 'off') return text;
  const [compared, number, atMilliseconds, ...differing] = text
    .split(',', differingMax + 4)
    .map((part) => parseWhole(part, updateNumberMax) ?? wrong(headerName, text, right));
  const isRight =
    compared !== undefined &&
    number !== undefined &&
    atMilliseconds !== undefined &&
    number <= compared &&
    differing.length <= differingMax &&
    differing.every((id) => id <= 0xffff);
  if (!isRight) return wrong(headerName, text, right);
  return { compared, agreed: number === 0 ? undefined : { number, atMilliseconds }, differing };
}
