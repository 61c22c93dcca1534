import { nameBytesMax } from '../platform/limits.ts';
import {
  NBD_FLAG_FIXED_NEWSTYLE,
  NBD_FLAG_NO_ZEROES,
  NBD_IHAVEOPT,
  NBD_INFO_BLOCK_SIZE,
  NBD_INFO_DESCRIPTION,
  NBD_INFO_EXPORT,
  NBD_INFO_NAME,
  NBD_MAGIC,
  NBD_REP_ACK,
  NBD_REP_INFO,
  NBD_REP_MAGIC,
  NBD_REP_META_CONTEXT,
  NBD_REP_SERVER,
  exportNamePaddingBytes,
  exportNameReplyBytes,
  greetingBytes,
  optionHeaderBytes,
  optionReplyHeaderBytes,
  viewOf,
  writeUint64,
} from './wire.ts';

/** Encoding and decoding of the handshake: pure, sizes checked, nothing thrown for what a peer sent. */

export interface OptionHeader {
  readonly option: number;
  readonly length: number;
}

export interface BlockSizes {
  readonly minimum: number;
  readonly preferred: number;
  readonly maximumPayload: number;
}

/** INFO and GO. */
export interface InfoRequest {
  readonly name: string;
  readonly information: readonly number[];
}

/** LIST_META_CONTEXT and SET_META_CONTEXT. */
export interface MetaContextRequest {
  readonly exportName: string;
  readonly queries: readonly string[];
}

/** What is wrong with an option's data, as a sentence for the client. */
export interface Malformed {
  readonly malformed: string;
}

export function isMalformed<T extends object>(value: T | Malformed): value is Malformed {
  return 'malformed' in value;
}

const errorTextCharactersMax = 240;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A string of the protocol: UTF-8, without NUL, at most 4096 bytes. */
export function decodeString(bytes: Uint8Array): { readonly text: string } | Malformed {
  if (bytes.length > nameBytesMax) {
    return { malformed: `a string has ${bytes.length} bytes, at most ${nameBytesMax} are allowed` };
  }
  try {
    const text = utf8.decode(bytes);
    return text.includes('\0') ? { malformed: 'a string contains a NUL' } : { text };
  } catch {
    return { malformed: 'a string is not UTF-8' };
  }
}

export function encodeGreeting(): Buffer {
  const bytes = Buffer.alloc(greetingBytes);
  bytes.writeBigUInt64BE(NBD_MAGIC, 0);
  bytes.writeBigUInt64BE(NBD_IHAVEOPT, 8);
  bytes.writeUInt16BE(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES, 16);
  return bytes;
}

/** `undefined` when the magic is wrong. */
export function decodeOptionHeader(bytes: Uint8Array): OptionHeader | undefined {
  const view = viewOf(bytes);
  if (view.getBigUint64(0) !== NBD_IHAVEOPT) return undefined;
  return { option: view.getUint32(8), length: view.getUint32(12) };
}

export function encodeOption(option: number, data: Uint8Array = new Uint8Array()): Buffer {
  const bytes = Buffer.alloc(optionHeaderBytes + data.length);
  bytes.writeBigUInt64BE(NBD_IHAVEOPT, 0);
  bytes.writeUInt32BE(option, 8);
  bytes.writeUInt32BE(data.length, 12);
  bytes.set(data, optionHeaderBytes);
  return bytes;
}

export function encodeOptionReply(
  option: number,
  type: number,
  data: Uint8Array = new Uint8Array(),
): Buffer {
  const bytes = Buffer.alloc(optionReplyHeaderBytes + data.length);
  bytes.writeBigUInt64BE(NBD_REP_MAGIC, 0);
  bytes.writeUInt32BE(option, 8);
  bytes.writeUInt32BE(type, 12);
  bytes.writeUInt32BE(data.length, 16);
  bytes.set(data, optionReplyHeaderBytes);
  return bytes;
}

export function encodeAck(option: number): Buffer {
  return encodeOptionReply(option, NBD_REP_ACK);
}

/** `text` goes to the user; of a very long one only the beginning does. */
export function encodeOptionError(option: number, type: number, text: string): Buffer {
  const isLong = text.length > errorTextCharactersMax;
  const shown = isLong ? `${text.slice(0, errorTextCharactersMax)}...` : text;
  return encodeOptionReply(option, type, Buffer.from(shown));
}

export function encodeServer(option: number, name: string, description: string): Buffer {
  const nameBytes = Buffer.from(name);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(nameBytes.length);
  return encodeOptionReply(
    option,
    NBD_REP_SERVER,
    Buffer.concat([length, nameBytes, Buffer.from(description)]),
  );
}

function encodeInfo(option: number, type: number, payload: Uint8Array): Buffer {
  const data = Buffer.alloc(2 + payload.length);
  data.writeUInt16BE(type);
  data.set(payload, 2);
  return encodeOptionReply(option, NBD_REP_INFO, data);
}

export function encodeInfoExport(option: number, sizeBytes: number, flags: number): Buffer {
  return encodeInfo(option, NBD_INFO_EXPORT, encodeSizeAndFlags(sizeBytes, flags));
}

export function encodeInfoName(option: number, name: string): Buffer {
  return encodeInfo(option, NBD_INFO_NAME, Buffer.from(name));
}

export function encodeInfoDescription(option: number, description: string): Buffer {
  return encodeInfo(option, NBD_INFO_DESCRIPTION, Buffer.from(description));
}

export function encodeInfoBlockSize(option: number, sizes: BlockSizes): Buffer {
  const payload = Buffer.alloc(12);
  payload.writeUInt32BE(sizes.minimum, 0);
  payload.writeUInt32BE(sizes.preferred, 4);
  payload.writeUInt32BE(sizes.maximumPayload, 8);
  return encodeInfo(option, NBD_INFO_BLOCK_SIZE, payload);
}

export function encodeMetaContext(option: number, id: number, name: string): Buffer {
  const idBytes = Buffer.alloc(4);
  idBytes.writeUInt32BE(id);
  return encodeOptionReply(
    option,
    NBD_REP_META_CONTEXT,
    Buffer.concat([idBytes, Buffer.from(name)]),
  );
}

function encodeSizeAndFlags(sizeBytes: number, flags: number): Buffer {
  const bytes = Buffer.alloc(exportNameReplyBytes);
  writeUint64(viewOf(bytes), 0, sizeBytes);
  bytes.writeUInt16BE(flags, 8);
  return bytes;
}

/** The answer to EXPORT_NAME, which has no header. */
export function encodeExportNameReply(sizeBytes: number, flags: number, isPadded: boolean): Buffer {
  const bytes = encodeSizeAndFlags(sizeBytes, flags);
  return isPadded ? Buffer.concat([bytes, Buffer.alloc(exportNamePaddingBytes)]) : bytes;
}

export function decodeInfoRequest(data: Uint8Array): InfoRequest | Malformed {
  const tooShort = { malformed: `an INFO or GO request of ${data.length} bytes is too short` };
  if (data.length < 6) return tooShort;
  const view = viewOf(data);
  const nameBytes = view.getUint32(0);
  if (nameBytes > data.length - 6) {
    return { malformed: `the export name (${nameBytes} bytes) does not fit the option` };
  }
  const name = decodeString(data.subarray(4, 4 + nameBytes));
  if (isMalformed(name)) return name;
  const count = view.getUint16(4 + nameBytes);
  const start = 6 + nameBytes;
  if (data.length !== start + 2 * count) {
    return { malformed: `${count} information requests do not fill the option exactly` };
  }
  const information = Array.from({ length: count }, (_, index) =>
    view.getUint16(start + 2 * index),
  );
  return { name: name.text, information };
}

export function encodeInfoRequest(request: InfoRequest): Buffer {
  const name = Buffer.from(request.name);
  const bytes = Buffer.alloc(6 + name.length + 2 * request.information.length);
  bytes.writeUInt32BE(name.length, 0);
  bytes.set(name, 4);
  bytes.writeUInt16BE(request.information.length, 4 + name.length);
  request.information.forEach((type, index) => {
    bytes.writeUInt16BE(type, 6 + name.length + 2 * index);
  });
  return bytes;
}

/** Reads a string behind its 32-bit length at `at`. */
function lengthAndString(
  data: Uint8Array,
  at: number,
  what: string,
): { readonly text: string; readonly next: number } | Malformed {
  if (data.length - at < 4) return { malformed: `the option ends before the length of ${what}` };
  const length = viewOf(data).getUint32(at);
  const start = at + 4;
  if (length > data.length - start) {
    return { malformed: `${what} (${length} bytes) runs past the end of the option` };
  }
  const decoded = decodeString(data.subarray(start, start + length));
  return isMalformed(decoded) ? decoded : { text: decoded.text, next: start + length };
}

export function decodeMetaContextRequest(data: Uint8Array): MetaContextRequest | Malformed {
  const exportName = lengthAndString(data, 0, 'the export name');
  if (isMalformed(exportName)) return exportName;
  if (data.length - exportName.next < 4) {
    return { malformed: 'the option ends before the number of queries' };
  }
  const count = viewOf(data).getUint32(exportName.next);
  let at = exportName.next + 4;
  const queries: string[] = [];
  for (let index = 0; index < count; index++) {
    const query = lengthAndString(data, at, `query ${index + 1} of ${count}`);
    if (isMalformed(query)) return query;
    queries.push(query.text);
    at = query.next;
  }
  if (at !== data.length) return { malformed: `${data.length - at} bytes follow the last query` };
  return { exportName: exportName.text, queries };
}

export function encodeMetaContextRequest(request: MetaContextRequest): Buffer {
  const parts: Buffer[] = [];
  const push = (text: string): void => {
    const bytes = Buffer.from(text);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    parts.push(length, bytes);
  };
  push(request.exportName);
  const count = Buffer.alloc(4);
  count.writeUInt32BE(request.queries.length);
  parts.push(count);
  for (const query of request.queries) push(query);
  return Buffer.concat(parts);
}
