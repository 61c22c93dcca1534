import type { ExportSession } from '../group/apply/export.ts';
import { createExtentList, extentsMax } from './extents.ts';
import { baseAllocationId } from './meta-context.ts';
import type { RequestIdentity } from './reply-codec.ts';
import type { ReplyWriter } from './reply-writer.ts';
import {
  NBD_CMD_FLAG_REQ_ONE,
  NBD_REPLY_TYPE_BLOCK_STATUS,
  NBD_REPLY_TYPE_BLOCK_STATUS_EXT,
  NBD_REPLY_TYPE_NONE,
  extendedReplyHeaderBytes,
  readUint64,
  viewOf,
  writeUint64,
} from './wire.ts';

/** What an answer to BLOCK_STATUS takes at most. */
export const statusReplyBytesMax = extendedReplyHeaderBytes + 8 + 16 * extentsMax;

/** One descriptor of the compact form tells of less than 4 GiB; the rest is asked for again. */
const compactLengthMax = 2 ** 32 - 4096;

const manyExtents = createExtentList(extentsMax);
/** For who wants to know of one only. */
const oneExtent = createExtentList(1);

/** Answers BLOCK_STATUS for base:allocation. Returns an errno; with one nothing was written. */
export function answerBlockStatus(
  session: ExportSession,
  writer: ReplyWriter,
  request: RequestIdentity,
  flags: number,
  offset: number,
  length: number,
): number {
  if (length === 0) {
    // Unspecified. One context without an extent would break the rules for chunks.
    writer.chunk(request, NBD_REPLY_TYPE_NONE, 0, true);
    return 0;
  }
  const isOne = (flags & NBD_CMD_FLAG_REQ_ONE) !== 0;
  const extents = isOne ? oneExtent : manyExtents;
  const error = session.extents(offset, length, extents);
  if (error !== 0) return error;
  const isExtended = writer.form === 'extended';
  if (extents.count === 0) {
    // Nothing known: data is always a safe answer.
    extents.count = 1;
    extents.lengths[0] = length;
    extents.states[0] = 0;
  }
  const { count } = extents;
  const descriptorBytes = isExtended ? 16 : 8;
  const headBytes = isExtended ? 8 : 4;
  const type = isExtended ? NBD_REPLY_TYPE_BLOCK_STATUS_EXT : NBD_REPLY_TYPE_BLOCK_STATUS;
  const start = writer.at;
  writer.chunk(request, type, headBytes + count * descriptorBytes, true);
  const { view } = writer.buffer;
  view.setUint32(writer.at, baseAllocationId);
  if (isExtended) view.setUint32(writer.at + 4, count);
  let at = writer.at + headBytes;
  for (let index = 0; index < count; index++) {
    const extent = extents.lengths[index] ?? 0;
    const described = isOne ? Math.min(extent, length) : extent;
    const state = extents.states[index] ?? 0;
    if (isExtended) {
      writeUint64(view, at, described);
      writeUint64(view, at + 8, state);
    } else if (described > compactLengthMax) {
      // It ends the list here: what follows would not be consecutive.
      view.setUint32(at, compactLengthMax);
      view.setUint32(at + 4, state);
      return endAfter(writer, request, start, type, headBytes, index + 1);
    } else {
      view.setUint32(at, described);
      view.setUint32(at + 4, state);
    }
    at += descriptorBytes;
  }
  writer.advance(headBytes + count * descriptorBytes);
  return 0;
}

/** Rewrites the header for fewer (compact) descriptors than were announced. */
function endAfter(
  writer: ReplyWriter,
  request: RequestIdentity,
  start: number,
  type: number,
  headBytes: number,
  count: number,
): number {
  writer.rewind(start);
  writer.chunk(request, type, headBytes + count * 8, true);
  writer.advance(headBytes + count * 8);
  return 0;
}

/**
 * The payload form (extended headers only): an effect length and the contexts to tell of, which here
 * can only be the one there is. `undefined` when a context is unknown or named twice, when none is
 * named, or when it is no such payload.
 */
export function decodeStatusPayload(payload: Uint8Array): { readonly length: number } | undefined {
  if (payload.length !== 12) return undefined;
  const view = viewOf(payload);
  return view.getUint32(8) === baseAllocationId ? { length: readUint64(view, 0) } : undefined;
}
