import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createAuthority, issueCertificate } from '../../../src/platform/certificate-authority.ts';
import { rightsOf } from '../../../src/platform/certificate-rights.ts';
import type { JnbdError } from '../../../src/platform/errors.ts';
import { wholeAnswer } from '../../../src/replicator/transport/whole-answer.ts';
import { writeCertificates } from '../../support/certificates.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../../support/temporary.ts';
import {
  clientCredentials,
  outcome,
  Parts,
  patient,
  serverCredentials,
  when,
} from './transport-parts.ts';

const parts = new Parts();
afterEach(() => parts.close());

const get = { method: 'GET', path: '/x', headers: {} } as const;

describe('certificates', () => {
  let directory: TemporaryDirectory;
  let own: string;
  let foreign: string;
  /** Trusts our authority and shows another one's certificate. */
  let stranger: string;
  const refused: string[] = [];

  beforeAll(async () => {
    directory = temporaryDirectory('http2-certificates');
    own = join(directory.path, 'own');
    foreign = join(directory.path, 'foreign');
    stranger = join(directory.path, 'stranger');
    await writeCertificates(own);
    await writeCertificates(foreign);
    mkdirSync(stranger);
    copyFileSync(join(own, 'ca-cert.pem'), join(stranger, 'ca-cert.pem'));
    for (const name of ['client-cert.pem', 'client-key.pem']) {
      copyFileSync(join(foreign, name), join(stranger, name));
    }
  });
  afterAll(() => directory.remove());

  const listen = (change: object = {}) => {
    refused.length = 0;
    return parts.port(
      ({ identity }, answer) => {
        const told = identity.kind === 'certificate' ? identity.certificate.subject : identity.kind;
        answer.head(200, { 'x-who': told });
        answer.end();
      },
      {
        tls: serverCredentials(own),
        refused: (peer, why) => refused.push(`${peer} ${why}`),
        ...change,
      },
    );
  };

  it('are known to the handler, with their rights', async () => {
    const rights = { system: 'second', groups: ['data'], access: 'read' } as const;
    const seen: unknown[] = [];
    const port = await parts.port(
      ({ identity }, answer) => {
        seen.push(identity);
        answer.head(200, {});
        answer.end();
      },
      {
        tls: serverCredentials(own),
        rightsOf: ({ subject }) => (subject === 'client' ? rights : undefined),
      },
    );
    const client = parts.client(port.address.port, { credentials: clientCredentials(own) });
    expect(await outcome(client)).toBe('ended');
    expect(seen).toMatchObject([
      {
        kind: 'certificate',
        rights,
        certificate: { subject: 'client', fingerprint: expect.stringMatching(/^[0-9a-f]{64}$/) },
      },
    ]);
  });

  it('of systems are taken with the rights that were ordered for them', async () => {
    const authorityDirectory = join(directory.path, 'pki');
    await createAuthority({ directory: authorityDirectory, name: 'x', days: 3 }, Date.now());
    const order = { authorityDirectory, days: 2, hosts: ['127.0.0.1'] };
    const first = { ...order, system: 'first', groups: 'all', access: 'change' } as const;
    const second = { ...order, system: 'second', groups: ['data'], access: 'read' } as const;
    const source = await issueCertificate(first, Date.now());
    const follower = await issueCertificate(second, Date.now());
    const seen: unknown[] = [];
    const port = await parts.port(
      ({ identity }, answer) => {
        seen.push(identity);
        answer.head(204, {});
        answer.end();
      },
      { tls: serverCredentials(source.directory), rightsOf },
    );
    const credentials = clientCredentials(follower.directory);
    expect(await outcome(parts.client(port.address.port, { credentials }))).toBe('ended');
    expect(seen).toMatchObject([
      {
        kind: 'certificate',
        rights: { system: 'second', groups: ['data'], access: 'read' },
        certificate: { fingerprint: follower.fingerprint },
      },
    ]);
  });

  it('of ours without rights are told so', async () => {
    // Of a certificate that says nothing of a system there are none.
    const port = await listen({ rightsOf: undefined });
    const client = parts.client(port.address.port, { credentials: clientCredentials(own) });
    const answer = await wholeAnswer(client, get, patient);
    expect(answer.status).toBe(403);
    expect(JSON.parse(Buffer.from(answer.body).toString())).toMatchObject({
      code: 'certificate_refused',
      detail: expect.stringContaining('client gives no rights'),
    });
    expect(refused).toHaveLength(1);
  });

  it('of the source that another authority signed are refused by the follower', async () => {
    const port = await listen();
    const client = parts.client(port.address.port, { credentials: clientCredentials(foreign) });
    const error = await outcome(client);
    expect(error).toMatchObject({ code: 'certificate_refused', kind: 'refused' });
    expect((error as JnbdError).message).toContain('must be signed by the authority');
  });

  it('of the source for another name are refused by the follower', async () => {
    const port = await listen();
    const client = parts.client(port.address.port, {
      credentials: clientCredentials(own),
      url: `https://127.0.0.2:${port.address.port}`,
    });
    // The port is on 127.0.0.1 alone; so it is asked for by a name that is not in its certificate.
    expect(await outcome(client)).toMatchObject({ code: 'peer_unreachable' });
    const everywhere = await listen({ address: { kind: 'tcp', host: '0.0.0.0', port: 0 } });
    const other = parts.client(1, {
      credentials: clientCredentials(own),
      url: `https://127.0.0.2:${everywhere.address.port}`,
    });
    expect(await outcome(other)).toMatchObject({ code: 'certificate_refused' });
  });

  it('of the follower that another authority signed are refused by the source', async () => {
    const port = await listen();
    const client = parts.client(port.address.port, { credentials: clientCredentials(stranger) });
    const error = await outcome(client);
    expect(error).toMatchObject({ code: expect.stringMatching(/connection_lost|certificate_ref/) });
    expect((error as JnbdError).message).toContain('certificate');
    await when('the source refused it', () => refused.length > 0 && port.connectionCount === 0);
    expect(refused).toEqual([expect.stringMatching(/^127\.0\.0\.1:\d+ .*certificate/)]);
  });

  it('may be left out only where they are optional, and never be wrong', async () => {
    const port = await listen({ tls: serverCredentials(own, 'optional') });
    const { authority } = clientCredentials(own);
    const without = parts.client(port.address.port, {
      credentials: { authority, own: '', key: '' },
    });
    const answer = await wholeAnswer(without, get, patient);
    expect(answer.headers['x-who']).toBe('loopback');
    const wrong = parts.client(port.address.port, { credentials: clientCredentials(stranger) });
    expect(await outcome(wrong)).toMatchObject({ code: 'connection_lost' });
    const strict = await listen();
    const nobody = parts.client(strict.address.port, {
      credentials: { authority, own: '', key: '' },
    });
    expect(await outcome(nobody)).toMatchObject({ code: 'certificate_refused' });
  });

  it('are not asked for where there is no TLS', async () => {
    const port = await parts.port(() => undefined, { refused: (_, why) => refused.push(why) });
    refused.length = 0;
    const client = parts.client(port.address.port, { credentials: clientCredentials(own) });
    expect(await outcome(client)).toMatchObject({ code: 'connection_lost' });
    expect(refused).toEqual(['speaks TLS, and there is none here']);
    const talker = await parts.bare((socket) =>
      socket.write('220 mail.example ESMTP\r\n'.repeat(9)),
    );
    const misled = parts.client(talker, { credentials: clientCredentials(own) });
    const error = await outcome(misled);
    expect(error).toMatchObject({ code: 'protocol_violated' });
    expect((error as JnbdError).message).toContain('does not speak TLS');
  });

  it('that cannot be read are refused before listening', async () => {
    const certificate = { authority: 'x', own: 'y', key: 'z' };
    await expect(
      listen({ tls: { certificate, clientCertificates: 'required' } }),
    ).rejects.toMatchObject({ code: 'certificate_invalid' });
  });
});
