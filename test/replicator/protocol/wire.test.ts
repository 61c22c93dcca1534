import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ToldChecksums } from '../../../src/group/apply/compared-points.ts';
import { updateNumberMax } from '../../../src/platform/limits.ts';
import {
  batchBytesMax,
  batchBytesMin,
  type CopiedVolume,
  copiedVolumesMax,
  decodeCaller,
  decodeJournalAnswer,
  decodeJournalRead,
  encodeCaller,
  encodeJournalAnswer,
  encodeJournalRead,
  formatPosition,
  headersBytesMax,
  type JournalAnswer,
  type JournalRead,
  type Member,
  parsePosition,
  paths,
  type Position,
  routeOf,
  waitMillisecondsMax,
  type WantedRange,
  type WireHeaders,
} from '../../../src/replicator/protocol/wire.ts';
import { checksumsFrameBytesMax } from '../../../src/replicator/protocol/stream-frames.ts';
import { differingMax, formatChecksums } from '../../../src/replicator/protocol/wire-checksums.ts';
import { membersMax } from '../../../src/replicator/protocol/wire-members.ts';
import { wantedRangesMax } from '../../../src/replicator/protocol/wire-ranges.ts';
import { violation, violationOf } from './violation.ts';

const number48 = fc.integer({ min: 0, max: updateNumberMax });
const uint32 = fc.nat(0xffff_ffff);
const anyHeaderText = fc.oneof(
  fc.string({ maxLength: 40 }),
  fc.constantFrom('0', '1', '-1', '1e3', '9007199254740993', '1:2:3', '1,2,3,4', '1=2,1=3', ''),
);

const position: fc.Arbitrary<Position> = fc.record({
  generation: uint32,
  incarnation: number48,
  number: number48,
});

describe('positions', () => {
  it('come back from text', () => {
    fc.assert(
      fc.property(position, (each) => {
        expect(parsePosition(formatPosition(each))).toEqual(each);
      }),
    );
  });

  it.each([
    '',
    '1:2',
    '1:2:3:4',
    'a:2:3',
    '1:2:-3',
    '1:2: 3',
    '1:2:1e3',
    '4294967296:1:1',
    '1:2:281474976710656',
  ])("'%s' is none", (text) => {
    expect(parsePosition(text)).toBeUndefined();
  });
});

const copied: fc.Arbitrary<CopiedVolume[]> = fc.uniqueArray(
  fc.record({ volume: fc.nat(0xffff), address: number48 }),
  { selector: ({ volume }) => volume, maxLength: copiedVolumesMax },
);

const ranges: fc.Arbitrary<WantedRange[]> = fc.array(
  fc
    .record({ volume: fc.nat(0xffff), offset: number48, length: number48 })
    .map(({ volume, offset, length }) => ({
      volume,
      offset: Math.min(offset, updateNumberMax - 1),
      length: Math.max(1, Math.min(length, updateNumberMax - offset)),
    })),
  { maxLength: wantedRangesMax },
);

const members: fc.Arbitrary<Member[]> = fc.uniqueArray(
  fc.record({
    systemId: number48,
    name: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/),
    received: number48,
    url: fc.option(
      fc.constantFrom('http://127.0.0.1:10810', 'https://[fd00::1]:1', 'http://a,b=c'),
      {
        nil: undefined,
      },
    ),
  }),
  { selector: ({ systemId }) => systemId, maxLength: membersMax },
);

const checksums: fc.Arbitrary<ToldChecksums> = fc.oneof(
  fc.constant('off' as const),
  fc
    .record({
      numbers: fc.tuple(number48, number48),
      atMilliseconds: number48,
      differing: fc.uniqueArray(fc.nat(0xffff), { maxLength: differingMax }),
    })
    .map(({ numbers, atMilliseconds, differing }) => {
      const [number = 0, compared = 0] = [...numbers].sort((a, b) => a - b);
      const agreed = number === 0 ? undefined : { number, atMilliseconds };
      return { compared, agreed, differing };
    }),
);

const journalRead: fc.Arbitrary<JournalRead> = fc
  .record({
    generation: uint32,
    incarnation: number48,
    numbers: fc.tuple(number48, number48, number48),
    batchBytes: fc.integer({ min: batchBytesMin, max: batchBytesMax }),
    waitMilliseconds: fc.nat(waitMillisecondsMax),
    isRetry: fc.boolean(),
    copied,
    ranges,
    members,
    serial: fc.option(number48, { nil: undefined }),
    checksums: fc.option(checksums, { nil: undefined }),
  })
  .map(({ generation, incarnation, numbers, ...rest }) => {
    const [applied = 0, received = 0, number = 0] = [...numbers].sort((a, b) => a - b);
    return { position: { generation, incarnation, number }, received, applied, ...rest };
  });

describe('a journal read', () => {
  it('comes back from its headers, which are within their bound', () => {
    fc.assert(
      fc.property(journalRead, (read) => {
        const headers = encodeJournalRead(read);
        expect(decodeJournalRead(headers)).toEqual(read);
        let bytes = 0;
        for (const [name, value] of Object.entries(headers)) bytes += name.length + value.length;
        expect(bytes).toBeLessThan((headersBytesMax * 3) / 4);
      }),
    );
  });

  it('is refused by name of the header, whatever stands in it', () => {
    fc.assert(
      fc.property(
        journalRead,
        fc.dictionary(
          fc.constantFrom(...Object.keys(encodeJournalRead(full))),
          fc.option(anyHeaderText),
        ),
        (read, changes) => {
          const headers: Record<string, string> = { ...encodeJournalRead(read) };
          for (const [name, value] of Object.entries(changes)) {
            if (value === null) delete headers[name];
            else headers[name] = value;
          }
          const error = violationOf(() => decodeJournalRead(headers));
          expect(error?.code ?? 'protocol_violated').toBe('protocol_violated');
          expect(error?.message ?? 'header jnbd-').toMatch(/^header jnbd-/);
        },
      ),
      { numRuns: 500 },
    );
  });

  const full: JournalRead = {
    position: { generation: 1, incarnation: 2, number: 30 },
    received: 20,
    applied: 10,
    batchBytes: batchBytesMin,
    waitMilliseconds: 1,
    isRetry: false,
    copied: [{ volume: 1, address: 2 }],
    ranges: [{ volume: 1, offset: 2, length: 3 }],
    members: [{ systemId: 1, name: 'a', received: 2, url: 'http://b:1' }],
    checksums: { compared: 9, agreed: { number: 8, atMilliseconds: 7 }, differing: [1] },
  };

  it('names as many members as its headers have room for', () => {
    const all = Array.from({ length: membersMax + 1 }, (_, systemId) => ({
      systemId: updateNumberMax - systemId,
      name: 'n'.repeat(64),
      received: updateNumberMax,
      url: `http://${'h'.repeat(85)}:10810`,
    }));
    const headers = encodeJournalRead({ ...full, members: all });
    expect(headers['jnbd-members']?.length).toBeLessThanOrEqual(6 * 1024);
    const { members: told } = decodeJournalRead(headers);
    expect(told.length).toBeGreaterThan(20);
    expect(told).toEqual(all.slice(0, told.length));
  });

  it('names as many volumes that differ as are allowed', () => {
    const differing = Array.from({ length: differingMax + 1 }, (_, id) => 0xffff - id);
    const told = { compared: 2, agreed: undefined, differing };
    const read = decodeJournalRead(encodeJournalRead({ ...full, checksums: told }));
    expect(read.checksums).toEqual({ ...told, differing: differing.slice(0, differingMax) });
    const text = formatChecksums({ ...told, compared: updateNumberMax });
    expect(text.length).toBeLessThanOrEqual(checksumsFrameBytesMax);
  });

  it('is brought into its bounds', () => {
    const asked = { ...full, batchBytes: 1, waitMilliseconds: 1e9 };
    expect(decodeJournalRead(encodeJournalRead(asked))).toMatchObject({
      batchBytes: batchBytesMin,
      waitMilliseconds: waitMillisecondsMax,
    });
    expect(decodeJournalRead(encodeJournalRead({ ...full, batchBytes: 1e12 })).batchBytes).toBe(
      batchBytesMax,
    );
  });

  it.each<[string, Partial<JournalRead> | WireHeaders, string]>([
    ['applied above received', { applied: 21 }, 'jnbd-applied'],
    ['received above the position', { received: 31 }, 'jnbd-received'],
    ['a volume twice', { 'jnbd-copied': '1=2,1=3' }, 'jnbd-copied'],
    ['a retry of 2', { 'jnbd-retry': '2' }, 'jnbd-retry'],
    ['a range of nothing', { 'jnbd-ranges': '1=2+0' }, 'jnbd-ranges'],
    ['a range without a volume', { 'jnbd-ranges': '2+1' }, 'jnbd-ranges'],
    ['a range past the end', { 'jnbd-ranges': '1=281474976710655+2' }, 'jnbd-ranges'],
    [
      'many ranges',
      {
        'jnbd-ranges': Array(wantedRangesMax + 1)
          .fill('1=2+3')
          .join(),
      },
      'jnbd-ranges',
    ],
    ['checksums of nothing', { 'jnbd-checksums': '' }, 'jnbd-checksums'],
    ['checksums without a time', { 'jnbd-checksums': '2,1' }, 'jnbd-checksums'],
    ['checksums that agreed later', { 'jnbd-checksums': '1,2,3' }, 'jnbd-checksums'],
    ['checksums of no volume', { 'jnbd-checksums': '2,1,3,65536' }, 'jnbd-checksums'],
    [
      'too many that differ',
      { 'jnbd-checksums': `2,1,3${',4'.repeat(differingMax + 1)}` },
      'jnbd-checksums',
    ],
    ['a member twice', { 'jnbd-members': '1=2=a,1=3=b' }, 'jnbd-members'],
    ['a member without a name', { 'jnbd-members': '1=2' }, 'jnbd-members'],
    ['a member at no address', { 'jnbd-members': '1=2=a=ftp%3A' }, 'jnbd-members'],
    [
      'too many volumes',
      {
        copied: Array.from({ length: copiedVolumesMax + 1 }, (_, volume) => ({
          volume,
          address: 0,
        })),
      },
      'jnbd-copied',
    ],
  ])('is refused with %s', (_, change, name) => {
    const headers = { ...encodeJournalRead({ ...full, ...change }), ...pickHeaders(change) };
    const error = violation(() => decodeJournalRead(headers));
    expect(error.code).toBe('protocol_violated');
    expect(error.message).toContain(name);
  });
});

function pickHeaders(change: object): WireHeaders {
  return Object.fromEntries(
    Object.entries(change).filter(([name]) => name.startsWith('jnbd-')),
  ) as WireHeaders;
}

const journalAnswer: fc.Arbitrary<JournalAnswer> = fc
  .record({
    through: position,
    records: fc.nat(1000),
    marks: fc.tuple(number48, number48, number48, number48),
    usedBytes: fc.maxSafeNat(),
    capacityBytes: fc.maxSafeNat(),
    timeMilliseconds: fc.maxSafeNat(),
    unsentBytes: fc.maxSafeNat(),
    oldestUnsentMilliseconds: fc.maxSafeNat(),
    path: fc.array(number48, { maxLength: 32 }),
    members,
    synchronous: fc.option(fc.record({ heard: number48, timeoutMilliseconds: number48 }), {
      nil: undefined,
    }),
  })
  .map(({ through, records, marks, ...rest }) => {
    const [released = 0, applied = 0, durable = 0, newest = 0] = [...marks].sort((a, b) => a - b);
    return {
      first: Math.max(1, through.number + 1 - records),
      through,
      watermarks: { released, applied, durable, newest },
      ...rest,
    };
  });

describe('the head of a journal answer', () => {
  it('comes back from its headers', () => {
    fc.assert(
      fc.property(journalAnswer, (answer) => {
        expect(decodeJournalAnswer(encodeJournalAnswer(answer))).toEqual(answer);
      }),
    );
  });

  it.each([
    ['jnbd-first', '0'],
    ['jnbd-first', '12'],
    ['jnbd-first', undefined],
    ['jnbd-through', '10'],
    ['jnbd-watermarks', '1,2,3'],
    ['jnbd-watermarks', '1,3,2,4'],
    ['jnbd-fill', '1'],
    ['jnbd-time', '1.5'],
    ['jnbd-unsent-bytes', ''],
    ['jnbd-oldest-unsent-ms', '-1'],
    ['jnbd-path', '1,x'],
    ['jnbd-path', ''],
    ['jnbd-path', Array.from({ length: 33 }, () => '1').join(',')],
  ])('is refused with %s: %s', (name, value) => {
    const headers: Record<string, string> = {
      ...encodeJournalAnswer({
        first: 5,
        through: { generation: 1, incarnation: 2, number: 10 },
        watermarks: { released: 1, applied: 2, durable: 3, newest: 4 },
        usedBytes: 5,
        capacityBytes: 6,
        timeMilliseconds: 7,
        unsentBytes: 8,
        oldestUnsentMilliseconds: 9,
        path: [1, 2],
        members: [],
      }),
    };
    expect(decodeJournalAnswer(headers).first).toBe(5);
    if (value === undefined) delete headers[name];
    else headers[name] = value;
    const error = violation(() => decodeJournalAnswer(headers));
    expect(error.code).toBe('protocol_violated');
    expect(error.message).toContain(name);
  });
});

describe('the caller', () => {
  it('comes back from its headers', () => {
    const caller = { systemId: updateNumberMax, name: 'node-2.example' };
    expect(decodeCaller(encodeCaller(caller))).toEqual(caller);
  });

  it.each([
    [{ 'jnbd-protocol': '2' }, 'protocol_unsupported'],
    [{ 'jnbd-protocol': 'x' }, 'protocol_violated'],
    [{ 'jnbd-system': '281474976710656' }, 'protocol_violated'],
    [{ 'jnbd-name': '../x' }, 'protocol_violated'],
  ])('is refused with %j', (change, code) => {
    const headers = { ...encodeCaller({ systemId: 1, name: 'a' }), ...change };
    expect(violation(() => decodeCaller(headers)).code).toBe(code);
  });
});

describe('routes', () => {
  const groupId = '0123456789abcdef0123456789abcdef';

  it('lead from paths to requests', () => {
    expect(routeOf('POST', paths.followers('data'))).toEqual({
      kind: 'register',
      groupName: 'data',
    });
    expect(routeOf('GET', paths.journal(groupId))).toEqual({ kind: 'journal', groupId });
    expect(routeOf('POST', paths.stream(groupId))).toEqual({ kind: 'stream', groupId });
    expect(routeOf('DELETE', paths.follower(groupId, 7))).toEqual({
      kind: 'unregister',
      groupId,
      systemId: 7,
    });
  });

  it.each([
    ['GET', '/status'],
    ['GET', '/v1/groups/data/journal'],
    ['POST', `/v1/groups/${groupId}/journal`],
    ['GET', `/v1/groups/${groupId}/stream`],
    ['POST', '/v1/groups/data/stream'],
    ['GET', '/v1/groups/data/followers'],
    ['DELETE', '/v1/groups/data/followers/7'],
    ['DELETE', `/v1/groups/${groupId}/followers/x`],
    ['DELETE', `/v1/groups/${groupId}/followers/999999999999999`],
    ['POST', '/v1/groups/../followers'],
    ['POST', `/v1/groups/${'x'.repeat(65)}/followers`],
    ['POST', '/v1/groups/data/followers/'],
  ])('%s %s is something else', (method, path) => {
    expect(routeOf(method, path)).toBeUndefined();
  });
});
