import type { ExportSession, WritesAhead } from '../group/apply/export.ts';
import { payloadAcceptedBytesMax } from '../platform/limits.ts';
import type { ReceiveWindow } from './receive-window.ts';
import { type CheckFacts, checkRequest, refusal } from './request-check.ts';
import {
  NBD_CMD_FLAG_PAYLOAD_LEN,
  NBD_CMD_WRITE,
  NBD_EXTENDED_REQUEST_MAGIC,
  NBD_REQUEST_MAGIC,
  extendedRequestHeaderBytes,
  readUint64,
  requestHeaderBytes,
} from './wire.ts';

const writesMax = 256;

/** One for all connections: nothing of it is kept over a turn. */
const ahead: WritesAhead = {
  count: 0,
  offsets: new Float64Array(writesMax),
  lengths: new Uint32Array(writesMax),
};

/**
 * Tells the session of all WRITEs of which the header was received, up to the first thing that will not be done
 * as it stands there. They are parsed one by one after that.
 */
export function preserveAhead(
  session: ExportSession,
  window: ReceiveWindow,
  facts: CheckFacts,
): void {
  const { isExtended } = facts;
  const headerBytes = isExtended ? extendedRequestHeaderBytes : requestHeaderBytes;
  const magic = isExtended ? NBD_EXTENDED_REQUEST_MAGIC : NBD_REQUEST_MAGIC;
  const { view } = window.held;
  const last = window.start + window.available - headerBytes;
  ahead.count = 0;
  for (let at = window.start; at <= last && ahead.count < writesMax; at += headerBytes) {
    if (view.getUint32(at) !== magic) break;
    const flags = view.getUint16(at + 4);
    if (view.getUint16(at + 6) === NBD_CMD_WRITE) {
      const offset = readUint64(view, at + 16);
      const length = isExtended ? readUint64(view, at + 24) : view.getUint32(at + 24);
      if (length > payloadAcceptedBytesMax) break;
      const code = checkRequest(NBD_CMD_WRITE, flags, offset, length, session.sizeBytes, facts);
      if (code !== refusal.none) break;
      ahead.offsets[ahead.count] = offset;
      ahead.lengths[ahead.count] = length;
      ahead.count += 1;
      at += length;
    } else if (isExtended && (flags & NBD_CMD_FLAG_PAYLOAD_LEN) !== 0) break;
  }
  if (ahead.count > 0) session.preserveAhead(ahead);
}
