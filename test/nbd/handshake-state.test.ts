import fc from 'fast-check';
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
  info,
  kinds,
  repliesIn,
} from '../support/handshakes.ts';

describe('metadata contexts', () => {
  const list = wire.NBD_OPT_LIST_META_CONTEXT;
  const set = wire.NBD_OPT_SET_META_CONTEXT;
  const negotiated = (): Handshake => {
    const handshake = begin();
    ask(handshake, wire.NBD_OPT_STRUCTURED_REPLY);
    return handshake;
  };

  it('need structured replies first', () => {
    expect(ask(begin(), list, contexts('disk'))).toEqual([wire.NBD_REP_ERR_INVALID]);
    expect(ask(begin(), set, contexts('disk'))).toEqual([wire.NBD_REP_ERR_INVALID]);
  });

  it('are listed for no query, the namespace, or their name', () => {
    for (const queries of [[], ['base:'], ['base:allocation'], ['x:y', 'base:']]) {
      expect(ask(negotiated(), list, contexts('disk', ...queries))).toEqual([4, 1]);
    }
    for (const queries of [['qemu:'], ['base:other'], ['nonsense'], ['']]) {
      expect(ask(negotiated(), list, contexts('disk', ...queries))).toEqual([1]);
    }
  });

  it('are set by name alone', () => {
    expect(ask(negotiated(), set, contexts('disk', 'base:allocation', 'x:y'))).toEqual([4, 1]);
    for (const queries of [[], ['base:'], ['base:other'], ['qemu:dirty-bitmap:a']]) {
      const handshake = negotiated();
      expect(ask(handshake, set, contexts('disk', ...queries))).toEqual([1]);
      expect(handshake.negotiated.metaContext?.hasAllocation).toBe(false);
    }
  });

  it('are replaced by the next SET, also when it fails', () => {
    for (const data of [contexts('no', 'base:allocation'), Buffer.alloc(3), contexts('disk')]) {
      const handshake = negotiated();
      ask(handshake, set, contexts('disk', 'base:allocation'));
      expect(handshake.negotiated.metaContext?.hasAllocation).toBe(true);
      ask(handshake, set, data);
      expect(handshake.negotiated.metaContext?.hasAllocation ?? false).toBe(false);
    }
  });

  it('survive a later choice of the reply form', () => {
    const handshake = negotiated();
    ask(handshake, set, contexts('disk', 'base:allocation'));
    expect(ask(handshake, wire.NBD_OPT_EXTENDED_HEADERS)).toEqual([wire.NBD_REP_ACK]);
    expect(handshake.negotiated.metaContext?.hasAllocation).toBe(true);
    expect(ask(handshake, wire.NBD_OPT_STRUCTURED_REPLY)).toEqual([
      wire.NBD_REP_ERR_EXT_HEADER_REQD,
    ]);
  });

  it('of an unknown export are UNKNOWN, and a query past the end is INVALID', () => {
    expect(ask(negotiated(), list, contexts('no'))).toEqual([wire.NBD_REP_ERR_UNKNOWN]);
    const cut = contexts('disk', 'base:allocation').subarray(0, -1);
    expect(ask(negotiated(), set, cut)).toEqual([wire.NBD_REP_ERR_INVALID]);
    const counted = contexts('disk');
    counted.writeUInt32BE(0xffffffff, counted.length - 4);
    expect(ask(negotiated(), set, counted)).toEqual([wire.NBD_REP_ERR_INVALID]);
  });
});

describe('STARTTLS', () => {
  it('is refused by policy where TLS is off', () => {
    expect(ask(begin('off'), wire.NBD_OPT_STARTTLS)).toEqual([wire.NBD_REP_ERR_POLICY]);
  });

  it('forgets everything negotiated before', () => {
    const handshake = begin('allow');
    ask(handshake, wire.NBD_OPT_EXTENDED_HEADERS);
    ask(handshake, wire.NBD_OPT_SET_META_CONTEXT, contexts('disk', 'base:allocation'));
    const actions = handshake.receive(encodeOption(wire.NBD_OPT_STARTTLS));
    expect(kinds(actions)).toEqual(['secure']);
    handshake.secured();
    expect(handshake.negotiated).toEqual({ replyForm: 'simple', metaContext: undefined });
    expect(ask(handshake, wire.NBD_OPT_STARTTLS)).toEqual([wire.NBD_REP_ERR_INVALID]);
  });

  it('ends the connection when anything came behind it in the open', () => {
    const injected = Buffer.concat([
      encodeOption(wire.NBD_OPT_STARTTLS),
      encodeOption(wire.NBD_OPT_LIST),
    ]);
    expect(begin('allow').receive(injected)).toEqual([{ kind: 'destroy' }]);
    expect(begin('require').receive(injected.subarray(0, 17))).toEqual([{ kind: 'destroy' }]);
  });

  it('must come first where TLS is required', () => {
    const handshake = begin('require');
    for (let option = 2; option < 20; option++) {
      if (option === wire.NBD_OPT_ABORT || option === wire.NBD_OPT_STARTTLS) continue;
      expect(ask(handshake, option, Buffer.alloc(3))).toEqual([wire.NBD_REP_ERR_TLS_REQD]);
    }
    const long = Buffer.alloc(optionDataBytesMax + 1);
    expect(ask(handshake, 6, long)).toEqual([wire.NBD_REP_ERR_TLS_REQD]);
    handshake.receive(encodeOption(wire.NBD_OPT_STARTTLS));
    handshake.secured();
    expect(ask(handshake, wire.NBD_OPT_LIST).at(-1)).toBe(wire.NBD_REP_ACK);
  });
});

describe('many options at once', () => {
  it('are answered in portions, each in turn', () => {
    const handshake = begin();
    const lists = Array.from({ length: 5_000 }, () => encodeOption(wire.NBD_OPT_LIST));
    let actions = handshake.receive(Buffer.concat(lists));
    let portions = 1;
    while (handshake.isHeld) {
      const portion = handshake.proceed();
      expect(
        Buffer.concat(portion.flatMap((each) => (each.kind === 'send' ? [each.bytes] : []))).length,
      ).toBeLessThan(100_000);
      actions = actions.concat(portion);
      portions += 1;
    }
    expect(portions).toBeGreaterThan(5);
    expect(repliesIn(actions).filter((reply) => reply.type === wire.NBD_REP_ACK).length).toBe(
      5_000,
    );
  });
});

describe('any stream', () => {
  const names = fc.constantFrom('', 'disk', 'g/disk', 'no', 'é');
  const option = fc.oneof(
    fc.constant(encodeOption(wire.NBD_OPT_LIST)),
    fc.constant(encodeOption(wire.NBD_OPT_STRUCTURED_REPLY)),
    fc.constant(encodeOption(wire.NBD_OPT_EXTENDED_HEADERS)),
    names.map((name) => encodeOption(wire.NBD_OPT_INFO, info(name, 1, 2, 3))),
    names.map((name) => encodeOption(wire.NBD_OPT_SET_META_CONTEXT, contexts(name, 'base:'))),
    fc
      .tuple(fc.nat(20), fc.uint8Array({ maxLength: 60 }))
      .filter(([number]) => ![1, 2, 5, 7].includes(number))
      .map(([number, data]) => encodeOption(number, data)),
  );

  it('is answered the same however it is cut', () => {
    fc.assert(
      fc.property(fc.array(option, { maxLength: 12 }), fc.array(fc.nat(1000)), (options, cuts) => {
        const bytes = Buffer.concat([clientFlags(), ...options]);
        const sent = (handshake: Handshake, pieces: readonly Buffer[]): string =>
          Buffer.concat(
            pieces.flatMap((piece) =>
              handshake
                .receive(piece)
                .flatMap((each) => (each.kind === 'send' ? [each.bytes] : [])),
            ),
          ).toString('hex');
        const whole = new Handshake(directory, 'off');
        const expected = sent(whole, [bytes]);
        const places = cuts.map((cut) => Math.floor((cut / 1000) * bytes.length));
        places.sort((a, b) => a - b);
        const pieces = [0, ...places].map((at, index) => bytes.subarray(at, places[index]));
        const cut = new Handshake(directory, 'off');
        expect(sent(cut, pieces)).toBe(expected);
        expect(cut.state).toEqual(whole.state);
        expect(cut.negotiated).toEqual(whole.negotiated);
      }),
    );
  });

  it('never throws, and hands over what follows GO', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 20 }), (chunks) => {
        const handshake = begin('allow');
        for (const chunk of chunks) handshake.receive(chunk);
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 5000 }), (rest) => {
        const handshake = begin();
        handshake.receive(Buffer.concat([encodeOption(wire.NBD_OPT_GO, info('')), rest]));
        handshake.opened(disk);
        expect(Buffer.from(handshake.takeRest())).toEqual(Buffer.from(rest));
      }),
    );
  });
});
