import { beforeAll, expect, test } from 'vitest';
import type { CertificateRights } from '../../../src/platform/certificate-rights.ts';
import {
  type CutAsk,
  type CutExchange,
  cutPath,
  encodeCutJson,
} from '../../../src/replicator/protocol/wire-cuts.ts';
import { readProblem } from '../../../src/replicator/protocol/wire-json.ts';
import { encodeCaller } from '../../../src/replicator/protocol/wire.ts';
import type { PeerIdentity } from '../../../src/replicator/transport/transport.ts';
import { must } from '../../../src/platform/assert.ts';
import { CutFleet } from './cut-fleet.ts';

let cut: CutFleet;
let cutId = '';

beforeAll(async () => {
  cut = await CutFleet.begin('requests');
  await cut.create({ interval: 'off' });
  cutId = must(cut.alpha.daemon.composed.cuts.list()[0], 'the cut').cutId;
});

function certificate(rights: Partial<CertificateRights> = {}): PeerIdentity {
  return {
    kind: 'certificate',
    certificate: { subject: 'beta', fingerprint: '', raw: new Uint8Array(0) },
    rights: { system: 'beta', groups: 'all', access: 'change', ...rights },
  };
}

/** The code of alpha's refusal, or `done`. */
async function ask<Name extends CutExchange>(
  what: Name,
  asked: CutAsk<Name>,
  identity = certificate(),
  caller = { systemId: cut.beta.system.systemId, name: 'beta' },
  id = cutId,
): Promise<string> {
  const { status, body } = await must(
    cut.alpha.daemon.composed.cuts.answer({
      method: 'POST',
      path: cutPath(id, what),
      query: '',
      headers: encodeCaller(caller),
      body: encodeCutJson(asked),
      identity,
      peer: '10.0.0.2:4711',
    }),
    'it is about a cut',
  );
  return status < 400 ? 'done' : readProblem(status, body).error.code;
}

const survey = { isControlling: false };

test('systems of the cut are heard, whose certificates may change its groups here', async () => {
  expect(await ask('survey', survey)).toBe('done');
  expect(await ask('survey', survey, certificate({ groups: ['a'] }))).toBe('done');
  for (const identity of [
    certificate({ groups: ['b'] }),
    certificate({ access: 'read' }),
    certificate({ system: 'gamma' }),
    { kind: 'anonymous' } as const,
  ]) {
    expect(await ask('survey', survey, identity)).toBe('follower_not_allowed');
    expect(await ask('remove', {}, identity)).toBe('follower_not_allowed');
    const inspected = { name: 'x', group: 'a', part: 'member' } as const;
    expect(await ask('inspect', inspected, identity)).toBe('follower_not_allowed');
  }
});

test('a stranger is not heard, also where its certificate may change the groups', async () => {
  const stranger = { systemId: 99, name: 'omega' };
  const own = certificate({ system: 'omega' });
  expect(await ask('survey', survey, own, stranger)).toBe('follower_not_allowed');
  const definition = elsewhere();
  const other = 'ef'.repeat(16);
  expect(await ask('define', { definition }, own, stranger, other)).toBe('state_refuses');
  expect(await ask('survey', survey, certificate(), undefined, other)).toBe('cut_not_found');
  expect(await ask('remove', {}, certificate(), undefined, other)).toBe('done');
});

/** A cut that alpha has no part in. */
function elsewhere() {
  const { systemId } = cut.beta.system;
  const place = { systemId, systemName: 'beta', url: cut.beta.url, groupId: '01'.repeat(16) };
  return {
    cutId: 'ef'.repeat(16),
    name: 'elsewhere',
    members: [{ ...place, group: 'b' }],
    targets: [],
    intervalMilliseconds: null,
    roundLimitMilliseconds: 50,
  };
}

test('markers of an epoch that was not claimed here, or do not rise, are refused', async () => {
  const { groupId } = cut.alpha.group('a').catalog;
  const marker = { groupId, wallTimeMilliseconds: 0, name: '' };
  expect(await ask('mark', { ...marker, epoch: 7n, sequence: 1n })).toBe('cut_epoch_stale');
  expect(await ask('claim', { epoch: 7n })).toBe('done');
  expect(await ask('claim', { epoch: 7n })).toBe('done');
  const gamma = { systemId: cut.gamma.system.systemId, name: 'gamma' };
  const third = certificate({ system: 'gamma' });
  expect(await ask('claim', { epoch: 7n }, third, gamma)).toBe('cut_epoch_stale');
  const marked = cut.alpha.run(ask('mark', { ...marker, epoch: 7n, sequence: 3n }));
  expect(await marked).toBe('done');
  expect(await ask('mark', { ...marker, epoch: 7n, sequence: 3n })).toBe('cut_epoch_stale');
  expect(await ask('mark', { ...marker, epoch: 6n, sequence: 9n })).toBe('cut_epoch_stale');
  await cut.alpha.stop();
  await cut.alpha.start();
  expect(await ask('mark', { ...marker, epoch: 7n, sequence: 4n })).toBe('cut_epoch_stale');
  expect(await ask('claim', { epoch: 7n })).toBe('cut_epoch_stale');
  expect(await ask('claim', { epoch: 8n })).toBe('done');
});
