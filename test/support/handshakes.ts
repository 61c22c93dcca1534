import { expect } from 'vitest';
import { Handshake, type HandshakeAction } from '../../src/nbd/handshake.ts';
import type { ExportFacts, HandshakeDirectory, TlsMode } from '../../src/nbd/negotiation.ts';
import {
  encodeInfoRequest,
  encodeMetaContextRequest,
  encodeOption,
} from '../../src/nbd/option-codec.ts';
import * as wire from '../../src/nbd/wire.ts';

export const disk: ExportFacts = {
  name: 'g/disk',
  description: 'a disk',
  sizeBytes: 1024 * 1024,
  readOnly: false,
  rotational: true,
};
export const frozen: ExportFacts = { ...disk, name: 'g/frozen', description: '', readOnly: true };
export const directory: HandshakeDirectory = {
  find: (name) =>
    new Map([
      ['g/disk', disk],
      ['disk', disk],
      ['', disk],
      ['g/frozen', frozen],
    ]).get(name),
  list: () => [disk, frozen],
};

export interface Reply {
  readonly option: number;
  readonly type: number;
  readonly data: Buffer;
}

export function clientFlags(flags = 3): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(flags);
  return bytes;
}

export function repliesIn(actions: readonly HandshakeAction[]): Reply[] {
  const bytes = Buffer.concat(
    actions.flatMap((each) => (each.kind === 'send' ? [each.bytes] : [])),
  );
  const replies: Reply[] = [];
  for (let at = 0; at < bytes.length; ) {
    expect(bytes.readBigUInt64BE(at)).toBe(wire.NBD_REP_MAGIC);
    const end = at + 20 + bytes.readUInt32BE(at + 16);
    replies.push({
      option: bytes.readUInt32BE(at + 8),
      type: bytes.readUInt32BE(at + 12),
      data: bytes.subarray(at + 20, end),
    });
    at = end;
  }
  return replies;
}

export function kinds(actions: readonly HandshakeAction[]): string[] {
  return actions.filter((each) => each.kind !== 'send').map((each) => each.kind);
}

export function begin(tlsMode: TlsMode = 'off', flags = 3): Handshake {
  const handshake = new Handshake(directory, tlsMode);
  handshake.greet();
  handshake.receive(clientFlags(flags));
  return handshake;
}

/** The types of the replies to one option. */
export function ask(handshake: Handshake, option: number, data?: Uint8Array): number[] {
  return repliesIn(handshake.receive(encodeOption(option, data))).map((reply) => reply.type);
}

export const info = (name: string, ...information: number[]): Buffer =>
  encodeInfoRequest({ name, information });
export const contexts = (exportName: string, ...queries: string[]): Buffer =>
  encodeMetaContextRequest({ exportName, queries });

/** GO for `name`, opened; the flags that the client is told. */
export function flagsAtGo(handshake: Handshake, name = 'g/disk', facts = disk): number {
  expect(kinds(handshake.receive(encodeOption(wire.NBD_OPT_GO, info(name))))).toEqual(['open']);
  const [first] = repliesIn(handshake.opened(facts));
  return first?.data.readUInt16BE(10) ?? 0;
}
