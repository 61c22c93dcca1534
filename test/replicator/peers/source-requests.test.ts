import { beforeAll, describe, expect, test } from 'vitest';
import { MiB } from '../../../src/platform/limits.ts';
import type { CertificateRights } from '../../../src/platform/certificate-rights.ts';
import { answerRequest } from '../../../src/replicator/peers/source-requests.ts';
import type { IncomingRequest, PeerIdentity } from '../../../src/replicator/transport/transport.ts';
import { encodeCaller, paths } from '../../../src/replicator/protocol/wire.ts';
import { jsonAnswer, readProblem } from '../../../src/replicator/protocol/wire-json.ts';
import { Fleet, type FleetSystem } from '../fleet.ts';

let alpha: FleetSystem;
let beta: FleetSystem;
const asked: string[] = [];

beforeAll(async () => {
  const fleet = new Fleet('source requests');
  alpha = await fleet.startPrimary(MiB);
  beta = await fleet.start('beta');
  await beta.verb('follow', { group: 'g', from: alpha.url });
  await beta.caughtUp(alpha);
  await alpha.verb('secondary allow', { group: 'g', secondary: 'gamma' });
});

function certificate(rights: Partial<CertificateRights> = {}): PeerIdentity {
  return {
    kind: 'certificate',
    certificate: { subject: 'beta', fingerprint: '', raw: new Uint8Array(0) },
    rights: { system: 'beta', groups: 'all', access: 'change', ...rights },
  };
}

/** The code of its refusal, or `done`. */
async function ask(request: Partial<IncomingRequest>, isOpenToAll = false): Promise<string> {
  const { status, body } = await answerRequest(
    {
      system: alpha.system,
      follows: alpha.daemon.composed.followed,
      isOpenToAll,
      load: () => ({ processorShare: 0, eventLoopDelayMilliseconds: 0 }),
      asked: (_group, { name }) => asked.push(name),
      others: () => Promise.resolve(jsonAnswer(404, {})),
    },
    {
      method: 'GET',
      path: '/',
      query: '',
      headers: encodeCaller(betaCaller()),
      body: new Uint8Array(0),
      identity: certificate(),
      peer: '10.0.0.2:4711',
      ...request,
    },
  );
  return status < 400 ? 'done' : readProblem(status, body).error.code;
}

const betaCaller = () => ({ systemId: beta.system.systemId, name: 'beta' });
const groupId = () => alpha.group().catalog.groupId;

function registration(caller: { systemId: number; name: string }, identity: PeerIdentity) {
  const { catalog, watermarks } = beta.group();
  const position = { generation: 1, incarnation: 0, number: watermarks.durable };
  const last = catalog.lineage.at(-1);
  return {
    method: 'POST',
    path: paths.followers('g'),
    headers: encodeCaller(caller),
    identity,
    body: Buffer.from(
      JSON.stringify({
        ...caller,
        groupId: groupId(),
        position: { ...position, incarnation: last?.incarnation ?? 0 },
        lineage: catalog.lineage,
        copyVolumes: [],
        journalOnly: false,
      }),
    ),
  };
}

describe('a registration', () => {
  test('is of the system that the certificate is for, and of a group that it is for', async () => {
    const other = { systemId: 99, name: 'gamma' };
    expect(await ask(registration(other, certificate()))).toBe('follower_not_allowed');
    expect(await ask(registration(other, certificate({ system: 'gamma', groups: ['h'] })))).toBe(
      'follower_not_allowed',
    );
    const anonymous: PeerIdentity = { kind: 'anonymous' };
    expect(await ask(registration(other, anonymous))).toBe('follower_not_allowed');
    const own = certificate({ system: 'gamma', groups: ['g'], access: 'read' });
    expect(await ask(registration(other, own))).toBe('done');
    expect(await ask(registration(betaCaller(), certificate()))).toBe('follower_not_allowed');
    await alpha.verb('secondary remove', { group: 'g', secondary: 'gamma' });
  });

  test('says of whom it is as its headers do', async () => {
    const request = registration({ systemId: 99, name: 'delta' }, certificate({ system: 'beta' }));
    const headers = encodeCaller(betaCaller());
    expect(await ask({ ...request, headers })).toBe('protocol_violated');
  });

  test('is taken back by the system itself alone', async () => {
    const { systemId } = betaCaller();
    const request = { method: 'DELETE', path: paths.follower(groupId(), systemId) };
    const stranger = { systemId, name: 'gamma' };
    for (const [caller, identity] of [
      [stranger, certificate({ system: 'gamma' })],
      [{ systemId: 99, name: 'gamma' }, certificate({ system: 'gamma' })],
      [betaCaller(), certificate({ system: 'gamma' })],
      [betaCaller(), certificate({ groups: ['h'] })],
      [betaCaller(), { kind: 'anonymous' }],
    ] as const) {
      const refused = await ask({ ...request, headers: encodeCaller(caller), identity });
      expect(refused).toBe('follower_not_allowed');
    }
    expect(alpha.status().secondaries).toMatchObject([{ name: 'beta' }]);
  });
});

describe('what else is asked', () => {
  test('is for systems that may', async () => {
    const lineage = { path: `/v1/groups/${groupId()}/lineage` };
    expect(await ask(lineage)).toBe('done');
    expect(await ask({ ...lineage, identity: certificate({ groups: ['h'] }) })).toBe(
      'follower_not_allowed',
    );
    expect(await ask({ ...lineage, identity: { kind: 'anonymous' } })).toBe('follower_not_allowed');
    expect(await ask({ ...lineage, identity: { kind: 'anonymous' } }, true)).toBe('done');
    const load = { path: '/v1/load' };
    expect(await ask(load)).toBe('done');
    expect(await ask({ ...load, identity: { kind: 'anonymous' } })).toBe('follower_not_allowed');
  });

  test('that is to change something here needs a certificate that may', async () => {
    const body = Buffer.from(
      JSON.stringify({
        target: 'alpha',
        groupId: groupId(),
        sourceGroup: 'g',
        listenPort: 10810,
        journalOnly: false,
      }),
    );
    const request = { method: 'POST', path: '/v1/groups/g/source', body };
    for (const identity of [
      certificate({ access: 'read' }),
      certificate({ groups: ['h'] }),
      certificate({ system: 'gamma' }),
      { kind: 'anonymous' } as const,
    ]) {
      expect(await ask({ ...request, identity }, true)).toBe('follower_not_allowed');
    }
    // It may, and this system is primary of the group.
    expect(await ask(request)).toBe('state_refuses');
  });

  test('counts as news of another primary from who is known, or may change something', async () => {
    const headers = (caller: { systemId: number; name: string }) => ({
      ...encodeCaller(caller),
      'jnbd-listen-port': '10810',
      'jnbd-generation': '2',
    });
    const path = `/v1/groups/${groupId()}/lineage`;
    const stranger = { systemId: 99, name: 'delta' };
    const reading = certificate({ system: 'delta', access: 'read' });
    await ask({ path, headers: headers(stranger), identity: reading });
    expect(asked).toEqual([]);
    await ask({ path, headers: headers(stranger), identity: certificate({ system: 'delta' }) });
    await ask({
      path,
      headers: headers(betaCaller()),
      identity: certificate({ access: 'read' }),
    });
    expect(asked).toEqual(['delta', 'beta']);
  });
});
