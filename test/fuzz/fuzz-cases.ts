import {
  encodeInfoRequest,
  encodeMetaContextRequest,
  encodeOption,
} from '../../src/nbd/option-codec.ts';
import * as wire from '../../src/nbd/wire.ts';
import type { FuzzRandom } from './fuzz-random.ts';

/** One hostile connection: what it sends, in which pieces, and how it leaves. */
export interface FuzzCase {
  readonly pieces: readonly Buffer[];
  /** Milliseconds before each piece. */
  readonly pauses: readonly number[];
  readonly readsReplies: boolean;
  readonly ending: 'close' | 'half close' | 'reset' | 'stay';
  readonly kind: string;
}

const kinds = ['garbage', 'options', 'mutated options', 'requests', 'mutated requests'] as const;
const boundaryLengths = [0, 1, 27, 28, 512, 4095, 4096, 4097, 65_536, 262_000, 262_144, 1 << 20];
const boundaryOffsets = [0, 1, 511, 4096, 2 ** 20, 2 ** 24 - 1, 2 ** 24, 2 ** 32, 2 ** 53, 2 ** 63];

/** `exportName` is what is attacked. */
export function makeCase(random: FuzzRandom, exportName: string): FuzzCase {
  const kind = random.pick(kinds);
  const bytes = makeBytes(random, kind, exportName);
  const pieces = split(random, bytes);
  const isSlow = random.chance(20);
  return {
    pieces,
    pauses: pieces.map(() => (isSlow ? random.below(20) : 0)),
    readsReplies: !random.chance(6),
    ending: random.pick(['close', 'close', 'half close', 'reset', 'reset', 'stay']),
    kind,
  };
}

function makeBytes(random: FuzzRandom, kind: (typeof kinds)[number], exportName: string): Buffer {
  switch (kind) {
    case 'garbage':
      return random.bytes(random.below(300));
    case 'options':
      return Buffer.concat([clientFlags(random), ...options(random, exportName)]);
    case 'mutated options':
      return mutate(random, Buffer.concat([clientFlags(random), ...options(random, exportName)]));
    case 'requests':
      return transmission(random, exportName, false);
    case 'mutated requests':
      return transmission(random, exportName, true);
  }
}

function clientFlags(random: FuzzRandom): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(random.chance(30) ? random.uint32() : random.pick([0, 1, 3, 3, 3, 3]));
  return bytes;
}

function options(random: FuzzRandom, exportName: string): Buffer[] {
  return Array.from({ length: random.below(8) }, () => anOption(random, exportName));
}

function anOption(random: FuzzRandom, exportName: string): Buffer {
  const name = random.pick([exportName, exportName, '', 'nothing', '\0', 'x'.repeat(5000)]);
  const queries = Array.from({ length: random.below(4) }, () =>
    random.pick(['base:', 'base:allocation', 'qemu:dirty-bitmap:x', '', ':', 'x']),
  );
  const information = Array.from({ length: random.below(6) }, () => random.below(6));
  switch (random.below(9)) {
    case 0:
      return encodeOption(wire.NBD_OPT_EXPORT_NAME, Buffer.from(name));
    case 1:
    case 2:
      return encodeOption(
        random.pick([wire.NBD_OPT_INFO, wire.NBD_OPT_GO]),
        encodeInfoRequest({ name, information }),
      );
    case 3:
    case 4:
      return encodeOption(
        random.pick([wire.NBD_OPT_LIST_META_CONTEXT, wire.NBD_OPT_SET_META_CONTEXT]),
        encodeMetaContextRequest({ exportName: name, queries }),
      );
    case 5:
      return encodeOption(wire.NBD_OPT_STRUCTURED_REPLY);
    case 6:
      return encodeOption(wire.NBD_OPT_EXTENDED_HEADERS);
    case 7:
      return encodeOption(random.below(14), random.bytes(random.below(40)));
    default: {
      // Announces more, or less, than comes.
      const option = encodeOption(random.below(14), random.bytes(random.below(60)));
      option.writeUInt32BE(random.pick([0, 1, 65_536, 65_537, 2 ** 20, 0xffffffff]), 12);
      return option;
    }
  }
}

function transmission(random: FuzzRandom, exportName: string, isMutated: boolean): Buffer {
  const form = random.below(3);
  const begin: Buffer[] = [Buffer.from('00000003', 'hex')];
  if (form === 1) begin.push(encodeOption(wire.NBD_OPT_STRUCTURED_REPLY));
  if (form === 2) begin.push(encodeOption(wire.NBD_OPT_EXTENDED_HEADERS));
  if (form > 0 && random.chance(2)) {
    const request = { exportName, queries: ['base:allocation'] };
    begin.push(encodeOption(wire.NBD_OPT_SET_META_CONTEXT, encodeMetaContextRequest(request)));
  }
  begin.push(
    encodeOption(wire.NBD_OPT_GO, encodeInfoRequest({ name: exportName, information: [] })),
  );
  const requests = Buffer.concat(
    Array.from({ length: random.below(24) }, () => aRequest(random, form === 2)),
  );
  return Buffer.concat([...begin, isMutated ? mutate(random, requests) : requests]);
}

function aRequest(random: FuzzRandom, isExtended: boolean): Buffer {
  const type = random.chance(12) ? random.below(65_536) : random.below(9);
  const length = random.chance(3) ? random.pick(boundaryLengths) : random.below(20_000);
  const offset = random.chance(3) ? random.pick(boundaryOffsets) : random.below(2 ** 24);
  let flags = random.chance(8) ? random.below(65_536) : random.pick([0, 0, 0, 1, 2, 4, 8, 16]);
  const isWrite = type === wire.NBD_CMD_WRITE;
  const hasPayload = isWrite || (isExtended && random.chance(20));
  if (isExtended && hasPayload) flags |= wire.NBD_CMD_FLAG_PAYLOAD_LEN;
  const head = Buffer.alloc(isExtended ? 32 : 28);
  head.writeUInt32BE(isExtended ? wire.NBD_EXTENDED_REQUEST_MAGIC : wire.NBD_REQUEST_MAGIC, 0);
  head.writeUInt16BE(flags, 4);
  head.writeUInt16BE(type, 6);
  head.writeUInt32BE(random.uint32(), 8);
  head.writeUInt32BE(random.uint32(), 12);
  head.writeBigUInt64BE(BigInt(offset), 16);
  if (isExtended) head.writeBigUInt64BE(BigInt(length), 24);
  else head.writeUInt32BE(length, 24);
  if (!hasPayload) return head;
  // Now and then less than was announced.
  const present = random.chance(10) ? random.below(length + 1) : length;
  return Buffer.concat([head, Buffer.alloc(present, random.below(256))]);
}

/** A few bytes changed, left out, doubled or put in. */
function mutate(random: FuzzRandom, bytes: Buffer): Buffer {
  let mutated = Buffer.from(bytes);
  for (let count = 1 + random.below(6); count > 0; count--) {
    if (mutated.length === 0) return random.bytes(random.below(64));
    const at = random.below(mutated.length);
    const length = random.below(Math.min(40, mutated.length - at) + 1);
    switch (random.below(6)) {
      case 0:
        mutated[at] = (mutated[at] ?? 0) ^ (1 << random.below(8));
        break;
      case 1:
        mutated[at] = random.pick([0, 1, 0x7f, 0x80, 0xff]);
        break;
      case 2:
        mutated.fill(random.pick([0, 0xff]), at, at + length);
        break;
      case 3:
        mutated = Buffer.concat([mutated.subarray(0, at), mutated.subarray(at + length)]);
        break;
      case 4:
        mutated = Buffer.concat([
          mutated.subarray(0, at + length),
          mutated.subarray(at, at + length),
          mutated.subarray(at + length),
        ]);
        break;
      default:
        mutated = Buffer.concat([
          mutated.subarray(0, at),
          random.bytes(length),
          mutated.subarray(at),
        ]);
    }
  }
  return mutated;
}

function split(random: FuzzRandom, bytes: Buffer): Buffer[] {
  if (random.chance(2)) return [bytes];
  const places = Array.from({ length: random.below(8) }, () => random.below(bytes.length + 1));
  places.sort((a, b) => a - b);
  return [0, ...places]
    .map((start, index) => bytes.subarray(start, places[index]))
    .filter((piece) => piece.length > 0);
}
