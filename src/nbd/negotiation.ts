import { payloadAdvertisedBytesMax } from '../platform/limits.ts';
import type { BlockSizes } from './option-codec.ts';
import {
  NBD_FLAG_BLOCK_STATUS_PAYLOAD,
  NBD_FLAG_CAN_MULTI_CONN,
  NBD_FLAG_HAS_FLAGS,
  NBD_FLAG_READ_ONLY,
  NBD_FLAG_ROTATIONAL,
  NBD_FLAG_SEND_CACHE,
  NBD_FLAG_SEND_DF,
  NBD_FLAG_SEND_FAST_ZERO,
  NBD_FLAG_SEND_FLUSH,
  NBD_FLAG_SEND_FUA,
  NBD_FLAG_SEND_TRIM,
  NBD_FLAG_SEND_WRITE_ZEROES,
} from './wire.ts';

/** How replies look: `simple` as ever, `structured` in chunks, `extended` in chunks with 64-bit lengths. */
export type ReplyForm = 'simple' | 'structured' | 'extended';

/** What the two sides agreed on; all of it is forgotten at STARTTLS. */
export interface Negotiated {
  readonly replyForm: ReplyForm;
  /** The name that the last SET_META_CONTEXT was for, and whether it selected base:allocation. */
  readonly metaContext:
    | { readonly exportName: string; readonly hasAllocation: boolean }
    | undefined;
}

export const nothingNegotiated: Negotiated = { replyForm: 'simple', metaContext: undefined };

/** What the handshake says of an export. */
export interface ExportFacts {
  readonly name: string;
  readonly description: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly rotational: boolean;
}

export const blockSizes: BlockSizes = {
  minimum: 1,
  preferred: 4096,
  maximumPayload: payloadAdvertisedBytesMax,
};

export function hasAllocation(negotiated: Negotiated, exportName: string): boolean {
  const context = negotiated.metaContext;
  return context !== undefined && context.hasAllocation && context.exportName === exportName;
}

/** `exportName` is the one that the client used. */
export function transmissionFlags(
  facts: ExportFacts,
  negotiated: Negotiated,
  exportName: string,
): number {
  let flags =
    NBD_FLAG_HAS_FLAGS |
    NBD_FLAG_SEND_FLUSH |
    NBD_FLAG_SEND_FUA |
    NBD_FLAG_CAN_MULTI_CONN |
    NBD_FLAG_SEND_CACHE;
  if (facts.readOnly) flags |= NBD_FLAG_READ_ONLY;
  else flags |= NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO;
  if (facts.rotational) flags |= NBD_FLAG_ROTATIONAL;
  if (negotiated.replyForm !== 'simple') flags |= NBD_FLAG_SEND_DF;
  if (negotiated.replyForm === 'extended' && hasAllocation(negotiated, exportName)) {
    flags |= NBD_FLAG_BLOCK_STATUS_PAYLOAD;
  }
  return flags;
}

export type TlsMode = 'off' | 'allow' | 'require';

/** What the handshake may know of the world. */
export interface HandshakeDirectory {
  find(name: string): ExportFacts | undefined;
  list(): readonly ExportFacts[];
}
