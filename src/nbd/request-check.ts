import { errno, type RangeEffect } from '../group/apply/export.ts';
import { payloadAcceptedBytesMax } from '../platform/limits.ts';
import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_CACHE,
  NBD_CMD_FLAG_DF,
  NBD_CMD_FLAG_FAST_ZERO,
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLAG_NO_HOLE,
  NBD_CMD_FLAG_PAYLOAD_LEN,
  NBD_CMD_FLAG_REQ_ONE,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
} from './wire.ts';

/** Why a request is not carried out; the number and the sentence for the client go with it. */
export const refusal = {
  none: 0,
  unknownCommand: 1,
  flags: 2,
  readOnly: 3,
  beyondEndEinval: 4,
  beyondEndEnospc: 5,
  noContext: 6,
  readTooLarge: 7,
  payloadUnwanted: 8,
  statusPayload: 9,
  shutdown: 10,
  fragmentsNeeded: 11,
} as const;
export type Refusal = (typeof refusal)[keyof typeof refusal];

const refusals: readonly { readonly errno: number; readonly text: string }[] = [
  { errno: errno.none, text: '' },
  { errno: errno.EINVAL, text: 'this command is not known here' },
  { errno: errno.EINVAL, text: 'a command flag is unknown or does not belong to this command' },
  { errno: errno.EPERM, text: 'the export is read-only' },
  { errno: errno.EINVAL, text: 'the request reaches beyond the end of the export' },
  { errno: errno.ENOSPC, text: 'the request reaches beyond the end of the export' },
  { errno: errno.EINVAL, text: 'no metadata context was selected for this export' },
  { errno: errno.EINVAL, text: `reads are limited to ${payloadAcceptedBytesMax} bytes` },
  { errno: errno.EINVAL, text: 'this command takes no payload' },
  { errno: errno.EINVAL, text: 'the payload names a metadata context twice or one not selected' },
  { errno: errno.ESHUTDOWN, text: 'the server is shutting down' },
  { errno: errno.EOVERFLOW, text: 'a read of this length is answered only in fragments' },
];

export function refusalErrno(code: Refusal): number {
  return refusals[code]?.errno ?? errno.EINVAL;
}

export function refusalText(code: Refusal): string {
  return refusals[code]?.text ?? '';
}

/** What a check needs to know of the connection. */
export interface CheckFacts {
  readonly isStructured: boolean;
  readonly isExtended: boolean;
  readonly hasAllocation: boolean;
  readonly readOnly: boolean;
}

/** FUA belongs to every command. */
export function validFlags(type: number, facts: CheckFacts): number {
  switch (type) {
    case NBD_CMD_READ:
      return facts.isStructured ? NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_DF : NBD_CMD_FLAG_FUA;
    case NBD_CMD_WRITE:
      return facts.isExtended ? NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_PAYLOAD_LEN : NBD_CMD_FLAG_FUA;
    case NBD_CMD_WRITE_ZEROES:
      return NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO;
    case NBD_CMD_BLOCK_STATUS: {
      const flags = NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_REQ_ONE;
      return facts.isExtended ? flags | NBD_CMD_FLAG_PAYLOAD_LEN : flags;
    }
    default:
      return NBD_CMD_FLAG_FUA;
  }
}

/**
 * Whether a request may be carried out (protocol: "Request types", "Error values"). `length` is the
 * effect length; `sizeBytes` the size of the export now.
 */
export function checkRequest(
  type: number,
  flags: number,
  offset: number,
  length: number,
  sizeBytes: number,
  facts: CheckFacts,
): Refusal {
  const unexpected = flags & ~validFlags(type, facts);
  if (unexpected !== 0) {
    const isPayload = facts.isExtended && unexpected === NBD_CMD_FLAG_PAYLOAD_LEN;
    return isPayload ? refusal.payloadUnwanted : refusal.flags;
  }
  // Written so that no sum can overflow.
  const isBeyond = offset > sizeBytes || length > sizeBytes - offset;
  switch (type) {
    case NBD_CMD_READ:
      if (isBeyond) return refusal.beyondEndEinval;
      return length > payloadAcceptedBytesMax ? refusal.readTooLarge : refusal.none;
    case NBD_CMD_WRITE:
    case NBD_CMD_WRITE_ZEROES:
      if (facts.readOnly) return refusal.readOnly;
      return isBeyond ? refusal.beyondEndEnospc : refusal.none;
    case NBD_CMD_TRIM:
      if (facts.readOnly) return refusal.readOnly;
      return isBeyond ? refusal.beyondEndEinval : refusal.none;
    case NBD_CMD_CACHE:
      return isBeyond ? refusal.beyondEndEinval : refusal.none;
    case NBD_CMD_BLOCK_STATUS:
      if (!facts.isStructured || !facts.hasAllocation) return refusal.noContext;
      return isBeyond ? refusal.beyondEndEinval : refusal.none;
    case NBD_CMD_FLUSH:
      return refusal.none;
    default:
      return refusal.unknownCommand;
  }
}

/** Of TRIM and WRITE_ZEROES. */
export function rangeEffect(type: number, flags: number): RangeEffect {
  if (type === NBD_CMD_TRIM) return 'trim';
  return (flags & NBD_CMD_FLAG_NO_HOLE) === 0 ? 'hole' : 'zero';
}
