import { describe, expect, it } from 'vitest';
import { Handshake, optionDataBytesMax } from '../../src/nbd/handshake.ts';
import { encodeOption } from '../../src/nbd/option-codec.ts';
import * as wire from '../../src/nbd/wire.ts';
import {
  ask,
  begin,
  clientFlags,
  contexts,
  directory,
  disk,
  flagsAtGo,
  frozen,
  info,
  kinds,
  repliesIn,
} from '../support/handshakes.ts';

describe('greeting', () => {
  it('offers fixed newstyle and no zeroes, and nothing else', () => {
    const [greeting] = new Handshake(directory, 'off').greet();
    expect(greeting?.kind === 'send' && Buffer.from(greeting.bytes).toString('hex')).toBe(
      '4e42444d4147494349484156454f50540003',
    );
  });

  it.each([4, 8, 0x80000000, 0xffff])('drops a client that sets flags %d', (flags) => {
    const handshake = new Handshake(directory, 'off');
    expect(kinds(handshake.receive(clientFlags(flags)))).toEqual(['destroy']);
    expect(handshake.state.phase).toBe('closed');
  });
});

describe('options', () => {
  it('answers what it does not know with UNSUP and stays in step', () => {
    const handshake = begin();
    for (const option of [wire.NBD_OPT_PEEK_EXPORT, 0, 12, 0xffffffff]) {
      expect(ask(handshake, option, Buffer.alloc(100))).toEqual([wire.NBD_REP_ERR_UNSUP]);
    }
    expect(ask(handshake, wire.NBD_OPT_LIST).at(-1)).toBe(wire.NBD_REP_ACK);
  });

  it('drops a client that sends something else than an option', () => {
    expect(kinds(begin().receive(Buffer.alloc(16, 1)))).toEqual(['destroy']);
  });

  it('lists every export with its description', () => {
    const replies = repliesIn(begin().receive(encodeOption(wire.NBD_OPT_LIST)));
    expect(replies.map((each) => each.type)).toEqual([2, 2, 1]);
    expect(replies[0]?.data.toString('latin1')).toBe('\0\0\0\x06g/diska disk');
    expect(ask(begin(), wire.NBD_OPT_LIST, Buffer.alloc(1))).toEqual([wire.NBD_REP_ERR_INVALID]);
  });

  it('acknowledges ABORT, whatever comes with it, and closes', () => {
    for (const data of [Buffer.alloc(0), Buffer.alloc(10), Buffer.alloc(optionDataBytesMax + 1)]) {
      const actions = begin('require').receive(encodeOption(wire.NBD_OPT_ABORT, data));
      expect(repliesIn(actions).map((each) => each.type)).toEqual([wire.NBD_REP_ACK]);
      expect(kinds(actions)).toEqual(['close']);
    }
  });

  it('reads over too much data, and leaves at far too much', () => {
    const handshake = begin();
    const tooLong = Buffer.alloc(optionDataBytesMax + 1);
    expect(ask(handshake, wire.NBD_OPT_INFO, tooLong)).toEqual([wire.NBD_REP_ERR_TOO_BIG]);
    expect(ask(handshake, wire.NBD_OPT_LIST).at(-1)).toBe(wire.NBD_REP_ACK);
    const header = encodeOption(wire.NBD_OPT_INFO);
    header.writeUInt32BE(0xffffffff, 12);
    expect(kinds(handshake.receive(header))).toEqual(['destroy']);
  });

  it('refuses data with options that take none', () => {
    const options = [
      wire.NBD_OPT_STRUCTURED_REPLY,
      wire.NBD_OPT_EXTENDED_HEADERS,
      wire.NBD_OPT_LIST,
    ];
    for (const option of options) {
      const handshake = begin();
      expect(ask(handshake, option, Buffer.alloc(4))).toEqual([wire.NBD_REP_ERR_INVALID]);
      expect(handshake.negotiated.replyForm).toBe('simple');
    }
    const secure = begin('allow');
    expect(ask(secure, wire.NBD_OPT_STARTTLS, Buffer.alloc(1))).toEqual([wire.NBD_REP_ERR_INVALID]);
  });

  it('answers everything but ABORT with SHUTDOWN once told to', () => {
    const handshake = begin();
    handshake.shutDown();
    for (const option of [wire.NBD_OPT_LIST, wire.NBD_OPT_GO, wire.NBD_OPT_STARTTLS, 99]) {
      expect(ask(handshake, option, info(''))).toEqual([wire.NBD_REP_ERR_SHUTDOWN]);
    }
    expect(kinds(handshake.receive(encodeOption(wire.NBD_OPT_EXPORT_NAME)))).toEqual(['destroy']);
  });
});

describe('EXPORT_NAME', () => {
  it.each([
    [3, 10],
    [1, 134],
  ])('answers without a header; flags %d: %d bytes', (flags, bytes) => {
    const handshake = begin('off', flags);
    const option = encodeOption(wire.NBD_OPT_EXPORT_NAME, Buffer.from('g/disk'));
    expect(kinds(handshake.receive(option))).toEqual(['open']);
    const [reply] = handshake.opened(disk);
    const sent = Buffer.from(reply?.kind === 'send' ? reply.bytes : []);
    expect(sent.length).toBe(bytes);
    expect(Number(sent.readBigUInt64BE(0))).toBe(disk.sizeBytes);
    expect(handshake.state.phase).toBe('transmission');
  });

  it('is all that a client without fixed newstyle may send', () => {
    expect(kinds(begin('off', 0).receive(encodeOption(wire.NBD_OPT_LIST)))).toEqual(['destroy']);
    expect(kinds(begin('off', 0).receive(encodeOption(wire.NBD_OPT_EXPORT_NAME)))).toEqual([
      'open',
    ]);
  });

  it('closes without a word when the export is unknown, needs TLS, or headers are extended', () => {
    const unknown = begin().receive(encodeOption(wire.NBD_OPT_EXPORT_NAME, Buffer.from('no')));
    expect(unknown).toEqual([{ kind: 'destroy' }]);
    const insecure = begin('require').receive(encodeOption(wire.NBD_OPT_EXPORT_NAME));
    expect(insecure).toEqual([{ kind: 'destroy' }]);
    const extended = begin();
    ask(extended, wire.NBD_OPT_EXTENDED_HEADERS);
    expect(extended.receive(encodeOption(wire.NBD_OPT_EXPORT_NAME))).toEqual([{ kind: 'destroy' }]);
  });
});

describe('INFO and GO', () => {
  const asked = [wire.NBD_INFO_NAME, wire.NBD_INFO_DESCRIPTION, wire.NBD_INFO_BLOCK_SIZE, 77, 78];

  it('give the same to the same question, and no more than was asked', () => {
    const handshake = begin();
    const plain = repliesIn(handshake.receive(encodeOption(wire.NBD_OPT_INFO, info('disk'))));
    expect(plain.map((each) => each.data.toString('hex').slice(0, 4))).toEqual(['0000', '']);
    const told = repliesIn(handshake.receive(encodeOption(wire.NBD_OPT_INFO, info('', ...asked))));
    expect(told.map((each) => each.type)).toEqual([3, 3, 3, 3, 1]);
    expect(told[1]?.data.toString('latin1')).toBe('\0\x01g/disk');
    expect(told[2]?.data.toString('latin1')).toBe('\0\x02a disk');
    expect(told[3]?.data.toString('hex')).toBe('0003000000010000100002000000');
    handshake.receive(encodeOption(wire.NBD_OPT_GO, info('', ...asked)));
    const gone = repliesIn(handshake.opened(disk));
    expect(gone.map((each) => each.data)).toEqual(told.map((each) => each.data));
  });

  it('know an unknown export, say nothing of it, and go on', () => {
    const handshake = begin();
    for (const option of [wire.NBD_OPT_INFO, wire.NBD_OPT_GO]) {
      for (const name of ['no', '__proto__', 'constructor', 'x'.repeat(4096)]) {
        expect(ask(handshake, option, info(name))).toEqual([wire.NBD_REP_ERR_UNKNOWN]);
      }
    }
    expect(ask(handshake, wire.NBD_OPT_INFO, info('disk'))).toEqual([3, 1]);
    const long = encodeOption(wire.NBD_OPT_INFO, info('é😀'.repeat(600)));
    const [refused] = repliesIn(handshake.receive(long));
    expect(refused?.data.length).toBeLessThan(1_000);
    expect(refused?.data.toString()).toMatch(/^there is no export named é😀.*\.\.\.$/);
  });

  it.each([
    ['too short', Buffer.alloc(5)],
    ['a name longer than the option', Buffer.from('ffffffff0000', 'hex')],
    [
      'a name that leaves no room for the count',
      Buffer.from('00000001410000', 'hex').subarray(0, 6),
    ],
    ['fewer requests than counted', Buffer.from('000000000002ffff', 'hex')],
    ['more than counted', Buffer.from('000000000000ffff', 'hex')],
    ['a NUL in the name', info('a\0b')],
    ['no UTF-8', Buffer.from('00000001ff0000', 'hex')],
    ['a name over 4096 bytes', info('x'.repeat(4097))],
  ])('refuse %s', (_what, data) => {
    expect(ask(begin(), wire.NBD_OPT_GO, data)).toEqual([wire.NBD_REP_ERR_INVALID]);
    expect(ask(begin(), wire.NBD_OPT_INFO, data)).toEqual([wire.NBD_REP_ERR_INVALID]);
  });

  it('tell why an export cannot be opened, and go on', () => {
    const handshake = begin();
    handshake.receive(encodeOption(wire.NBD_OPT_GO, info('disk')));
    const refused = repliesIn(handshake.refused(wire.NBD_REP_ERR_POLICY, 'not now'));
    expect(refused.map((each) => [each.type, each.data.toString()])).toEqual([
      [wire.NBD_REP_ERR_POLICY, 'not now'],
    ]);
    expect(flagsAtGo(handshake)).toBeGreaterThan(0);
  });

  it('offer what the export and the negotiation allow', () => {
    const plain = flagsAtGo(begin());
    expect(plain).toBe(
      wire.NBD_FLAG_HAS_FLAGS |
        wire.NBD_FLAG_SEND_FLUSH |
        wire.NBD_FLAG_SEND_FUA |
        wire.NBD_FLAG_ROTATIONAL |
        wire.NBD_FLAG_SEND_TRIM |
        wire.NBD_FLAG_SEND_WRITE_ZEROES |
        wire.NBD_FLAG_CAN_MULTI_CONN |
        wire.NBD_FLAG_SEND_CACHE |
        wire.NBD_FLAG_SEND_FAST_ZERO,
    );
    const structured = begin();
    ask(structured, wire.NBD_OPT_STRUCTURED_REPLY);
    expect(flagsAtGo(structured) & ~plain).toBe(wire.NBD_FLAG_SEND_DF);
    const extended = begin();
    ask(extended, wire.NBD_OPT_EXTENDED_HEADERS);
    ask(extended, wire.NBD_OPT_SET_META_CONTEXT, contexts('g/disk', 'base:allocation'));
    expect(flagsAtGo(extended) & ~plain).toBe(
      wire.NBD_FLAG_SEND_DF | wire.NBD_FLAG_BLOCK_STATUS_PAYLOAD,
    );
    const readOnly = flagsAtGo(begin(), 'g/frozen', frozen);
    expect(readOnly & wire.NBD_FLAG_READ_ONLY).toBeTruthy();
    expect(readOnly & (wire.NBD_FLAG_SEND_WRITE_ZEROES | wire.NBD_FLAG_SEND_FAST_ZERO)).toBe(0);
  });
});
