import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WaitingReplies } from '../../src/nbd/waiting-replies.ts';
import {
  decodeInfoRequest,
  decodeMetaContextRequest,
  decodeOptionHeader,
  encodeInfoRequest,
  encodeMetaContextRequest,
  encodeOption,
} from '../../src/nbd/option-codec.ts';
import { putChunkHeader, putError, putSimpleReply } from '../../src/nbd/reply-codec.ts';
import { checkRequest, refusal } from '../../src/nbd/request-check.ts';
import { readUint64, viewOf, writeUint64 } from '../../src/nbd/wire.ts';

const text = fc.string({ maxLength: 60, unit: 'grapheme' }).filter((each) => !each.includes('\0'));
const uint32 = fc.nat(0xffffffff);

describe('64-bit integers', () => {
  it('go through the wire below 2^53', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (value) => {
        const view = new DataView(new ArrayBuffer(8));
        writeUint64(view, 0, value);
        expect(readUint64(view, 0)).toBe(value);
        expect(view.getBigUint64(0)).toBe(BigInt(value));
      }),
    );
  });

  it('above that are still above every size', () => {
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, 0xffffffffffffffffn);
    expect(readUint64(view, 0)).toBeGreaterThanOrEqual(2 ** 63);
  });
});

describe('options', () => {
  it('come back as they were', () => {
    fc.assert(
      fc.property(text, fc.array(fc.nat(0xffff), { maxLength: 9 }), (name, information) => {
        expect(decodeInfoRequest(encodeInfoRequest({ name, information }))).toEqual({
          name,
          information,
        });
      }),
    );
    fc.assert(
      fc.property(text, fc.array(text, { maxLength: 9 }), (exportName, queries) => {
        const encoded = encodeMetaContextRequest({ exportName, queries });
        expect(decodeMetaContextRequest(encoded)).toEqual({ exportName, queries });
      }),
    );
    fc.assert(
      fc.property(uint32, fc.uint8Array({ maxLength: 99 }), (option, data) => {
        expect(decodeOptionHeader(encodeOption(option, data))).toEqual({
          option,
          length: data.length,
        });
      }),
    );
  });

  it('that are no such thing are called malformed, never thrown at', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (data) => {
        decodeInfoRequest(data);
        decodeMetaContextRequest(data);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('replies', () => {
  const identity = fc.record({
    cookieHigh: uint32,
    cookieLow: uint32,
    offsetHigh: uint32,
    offsetLow: uint32,
  });

  it('carry cookie and offset back bit by bit', () => {
    fc.assert(
      fc.property(identity, uint32, fc.boolean(), (request, length, isExtended) => {
        const bytes = Buffer.alloc(64);
        const view = viewOf(bytes);
        expect(putSimpleReply(view, 3, 5, request)).toBe(19);
        expect(bytes.readUInt32BE(3)).toBe(0x67446698);
        expect(bytes.readUInt32BE(11)).toBe(request.cookieHigh);
        const end = putChunkHeader(view, 0, isExtended, 1, 2, request, length);
        expect(end).toBe(isExtended ? 32 : 20);
        expect(bytes.readUInt32BE(0)).toBe(isExtended ? 0x6e8a278c : 0x668e33ef);
        expect(bytes.readUInt32BE(12)).toBe(request.cookieLow);
        expect(bytes.readUInt32BE(end - 4)).toBe(length);
        expect(isExtended ? bytes.readUInt32BE(16) : request.offsetHigh).toBe(request.offsetHigh);
        expect(isExtended ? bytes.readUInt32BE(20) : request.offsetLow).toBe(request.offsetLow);
      }),
    );
  });

  it('carry a sentence with an error', () => {
    const bytes = Buffer.alloc(64);
    const request = { cookieHigh: 0, cookieLow: 7, offsetHigh: 0, offsetLow: 0 };
    const end = putError(bytes, viewOf(bytes), 0, false, request, 5, Buffer.from('why'));
    expect(bytes.subarray(0, end).toString('hex')).toBe(
      '668e33ef0001800100000000000000070000000900000005' + '0003' + '776879',
    );
  });
});

describe('the check of a request', () => {
  const facts = { isStructured: true, isExtended: true, hasAllocation: true, readOnly: false };

  it('lets through exactly what lies within the export', () => {
    fc.assert(
      fc.property(
        fc.nat(7).filter((type) => type !== 2 && type !== 3),
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        fc.bigInt({ min: 0n, max: 2n ** 26n }),
        fc.nat(2 ** 40),
        (type, offset, length, size) => {
          const isWithin = offset + length <= BigInt(size);
          const code = checkRequest(type, 0, Number(offset), Number(length), size, facts);
          expect(code === refusal.none).toBe(isWithin);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('the queue for what is not durable yet', () => {
  it('gives every entry back once, oldest first, and fails the newest', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(3), fc.integer({ min: 0, max: 5 })), { maxLength: 400 }),
        fc.nat(300),
        (script, failFrom) => {
          const queue = new WaitingReplies();
          const model: { cookie: number; number: number }[] = [];
          let number = 0;
          let cookie = 0;
          for (const [pushes, shifts] of script) {
            for (let count = 0; count < pushes * 20; count++) {
              number += count % 3 === 0 ? 1 : 0;
              const identity = { cookieHigh: 1, cookieLow: ++cookie, offsetHigh: 2, offsetLow: 3 };
              queue.push(number, 3, cookie * 2, cookie / 2, identity);
              model.push({ cookie, number });
            }
            for (let count = 0; count < shifts && model.length > 0; count++) {
              expect(queue.firstNumber).toBe(model[0]?.number);
              queue.shift();
              expect(queue.taken).toMatchObject({
                cookieLow: model.shift()?.cookie,
                cookieHigh: 1,
                offsetHigh: 2,
                offsetLow: 3,
                type: 3,
              });
              expect(queue.taken.length).toBe(queue.taken.cookieLow * 2);
            }
          }
          while (queue.popFrom(failFrom)) {
            const last = model.pop();
            expect(last?.number).toBeGreaterThanOrEqual(failFrom);
            expect(queue.taken.cookieLow).toBe(last?.cookie);
          }
          expect(queue.count).toBe(model.length);
          expect((model.at(-1)?.number ?? -1) < failFrom).toBe(true);
        },
      ),
      { numRuns: 50 },
    );
  });
});
