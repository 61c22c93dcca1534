import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JnbdError } from '../../../src/platform/errors.ts';
import {
  jsonAnswer,
  parseJson,
  problemAnswer,
  readProblem,
  type Registered,
  registeredSchema,
  type Registration,
  registrationSchema,
} from '../../../src/replicator/protocol/wire-json.ts';
import { violation } from './violation.ts';

const lineage = [
  { generation: 1, system: 5, incarnation: 6, firstNumber: 1 },
  { generation: 1, system: 5, incarnation: 7, firstNumber: 90 },
];
const registration: Registration = {
  systemId: 8,
  name: 'second',
  groupId: null,
  position: null,
  lineage: [],
  copyVolumes: 'all',
  journalOnly: false,
  listenPort: null,
  groupName: null,
  compare: false,
};
const registered: Registered = {
  groupId: 'ab'.repeat(16),
  systemId: 5,
  name: 'first',
  lineage,
  from: 17,
  newest: 20,
  catalog: {
    number: 3,
    nextVolumeId: 2,
    volumes: [
      { id: 1, name: 'v', sizeBytes: 4096, journalOnly: false, state: 'normal', maxHosts: 0 },
    ],
  },
  journalCapacityBytes: 1 << 30,
  copy: true,
  path: [5, 6],
};

describe('JSON', () => {
  it('comes back, without what a later version may add', () => {
    const { body } = jsonAnswer(200, { ...registered, tomorrow: { x: 1 } });
    expect(parseJson(registeredSchema, body, 'the answer')).toEqual(registered);
    expect(parseJson(registrationSchema, Buffer.from(JSON.stringify(registration)), 'it')).toEqual(
      registration,
    );
  });

  it.each<[string, object, RegExp]>([
    ['no name', { name: undefined }, /the request, name/],
    ['a path for a name', { name: '../../x' }, /the request, name/],
    ['a group id of another size', { groupId: 'abc' }, /groupId/],
    ['a system id that is no number', { systemId: '8' }, /systemId/],
    ['a lineage out of order', { lineage: [lineage[1], lineage[0]] }, /lineage.*order/],
    ['half a position', { position: { number: 1 } }, /position/],
  ])('is refused with %s', (_, change, message) => {
    const body = Buffer.from(JSON.stringify({ ...registration, ...change }));
    const error = violation(() => parseJson(registrationSchema, body, 'the request'));
    expect(error.code).toBe('protocol_violated');
    expect(error.message).toMatch(message);
  });

  it('that is none is refused, whatever it is', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.json().map((text) => Buffer.from(text)),
        ),
        (body) => {
          const error = violation(() => parseJson(registrationSchema, body, 'the request'));
          expect(error.code).toBe('protocol_violated');
        },
      ),
    );
  });
});

describe('an error', () => {
  it('comes back with its code, its text and what belongs to it', () => {
    const told = new JnbdError('diverged', 'the histories differ from number 18 on');
    const { status, headers, body } = problemAnswer(told, { fork: 17, lineage });
    expect(status).toBe(409);
    expect(headers['content-type']).toBe('application/problem+json');
    const { error, details } = readProblem(status, body);
    expect(error).toMatchObject({ code: 'diverged', message: told.message });
    expect(details).toEqual({ fork: 17, lineage });
  });

  it.each([
    ['follower_not_allowed', 403],
    ['group_not_found', 404],
    ['group_state', 409],
    ['position_released', 410],
    ['protocol_violated', 400],
    ['protocol_unsupported', 400],
    ['journal_full', 503],
  ] as const)('%s has status %i', (code, status) => {
    expect(problemAnswer(new JnbdError(code, 'x')).status).toBe(status);
  });

  it('with a code of a later version keeps its text', () => {
    const body = Buffer.from(JSON.stringify({ code: 'from_tomorrow', detail: 'not today' }));
    expect(readProblem(409, body).error).toMatchObject({
      code: 'unsupported',
      message: 'not today (from_tomorrow)',
    });
  });

  it('of somebody else is told as such, whatever it is', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.json().map((text) => Buffer.from(text)),
        ),
        (body) => {
          expect(readProblem(502, body).error.code).toBe('protocol_violated');
        },
      ),
    );
    expect(readProblem(502, Buffer.from('<html>')).error.message).toContain('502');
  });
});
