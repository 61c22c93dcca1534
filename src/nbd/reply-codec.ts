import {
  NBD_EXTENDED_REPLY_MAGIC,
  NBD_REPLY_FLAG_DONE,
  NBD_REPLY_TYPE_ERROR,
  NBD_REPLY_TYPE_NONE,
  NBD_SIMPLE_REPLY_MAGIC,
  NBD_STRUCTURED_REPLY_MAGIC,
  extendedReplyHeaderBytes,
  simpleReplyHeaderBytes,
  structuredReplyHeaderBytes,
  writeUint64,
} from './wire.ts';

/**
 * Replies, written in place: each function puts its bytes at `at` and returns the position behind
 * them. Cookies (and, with extended headers, offsets) go back exactly as they came, so they travel as
 * pairs of 32-bit halves.
 */

/** The halves of the request's cookie and offset. */
export interface RequestIdentity {
  cookieHigh: number;
  cookieLow: number;
  offsetHigh: number;
  offsetLow: number;
}

/** Of the request whose header begins at `start`. */
export function identityAt(view: DataView, start: number): RequestIdentity {
  return {
    cookieHigh: view.getUint32(start + 8),
    cookieLow: view.getUint32(start + 12),
    offsetHigh: view.getUint32(start + 16),
    offsetLow: view.getUint32(start + 20),
  };
}

export function putSimpleReply(
  view: DataView,
  at: number,
  error: number,
  request: RequestIdentity,
): number {
  view.setUint32(at, NBD_SIMPLE_REPLY_MAGIC);
  view.setUint32(at + 4, error);
  view.setUint32(at + 8, request.cookieHigh);
  view.setUint32(at + 12, request.cookieLow);
  return at + simpleReplyHeaderBytes;
}

/** The header of a structured or extended chunk with a payload of `payloadBytes`. */
export function putChunkHeader(
  view: DataView,
  at: number,
  isExtended: boolean,
  flags: number,
  type: number,
  request: RequestIdentity,
  payloadBytes: number,
): number {
  view.setUint32(at, isExtended ? NBD_EXTENDED_REPLY_MAGIC : NBD_STRUCTURED_REPLY_MAGIC);
  view.setUint16(at + 4, flags);
  view.setUint16(at + 6, type);
  view.setUint32(at + 8, request.cookieHigh);
  view.setUint32(at + 12, request.cookieLow);
  if (!isExtended) {
    view.setUint32(at + 16, payloadBytes);
    return at + structuredReplyHeaderBytes;
  }
  view.setUint32(at + 16, request.offsetHigh);
  view.setUint32(at + 20, request.offsetLow);
  writeUint64(view, at + 24, payloadBytes);
  return at + extendedReplyHeaderBytes;
}

/** The whole answer to a request that returns nothing but success. */
export function putDone(
  view: DataView,
  at: number,
  isExtended: boolean,
  request: RequestIdentity,
): number {
  const flags = NBD_REPLY_FLAG_DONE;
  return putChunkHeader(view, at, isExtended, flags, NBD_REPLY_TYPE_NONE, request, 0);
}

/** The last chunk of an answer that failed. `text` has at most 4096 bytes. */
export function putError(
  bytes: Buffer,
  view: DataView,
  at: number,
  isExtended: boolean,
  request: RequestIdentity,
  error: number,
  text: Uint8Array,
): number {
  const payloadBytes = 6 + text.length;
  const flags = NBD_REPLY_FLAG_DONE;
  const type = NBD_REPLY_TYPE_ERROR;
  const next = putChunkHeader(view, at, isExtended, flags, type, request, payloadBytes);
  view.setUint32(next, error);
  view.setUint16(next + 4, text.length);
  bytes.set(text, next + 6);
  return next + payloadBytes;
}
