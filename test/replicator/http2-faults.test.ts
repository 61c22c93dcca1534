import { copyFileSync, mkdirSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import type net from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { JnbdError } from '../../src/platform/errors.ts';
import { MiB } from '../../src/platform/limits.ts';
import type { Http2Client } from '../../src/replicator/http2-client.ts';
import { http2Transport } from '../../src/replicator/http2-transport.ts';
import type { TransportTarget } from '../../src/replicator/transport.ts';
import { wholeAnswer } from '../../src/replicator/whole-answer.ts';
import { writeCertificates } from '../support/certificates.ts';
import { freePort } from '../support/children.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';
import {
  clientCredentials,
  freezableWay,
  Gathered,
  Parts,
  patient,
  serverCredentials,
  when,
} from './transport-parts.ts';

const parts = new Parts();
afterEach(() => parts.close());

const get = { method: 'GET', path: '/x', headers: {} } as const;
const hasty = { connectMilliseconds: 300, pingMilliseconds: 100, silenceMilliseconds: 400 };

/** What came of one request. */
async function outcome(client: Http2Client, limits = patient): Promise<JnbdError | 'ended'> {
  const gathered = new Gathered();
  client.request(get, limits, gathered);
  return gathered.over;
}

describe('a source that is not there, or not ours', () => {
  it('does not listen', async () => {
    const client = parts.client(await freePort());
    expect(await outcome(client)).toMatchObject({
      code: 'peer_unreachable',
      kind: 'retryable',
      cause: { code: 'ECONNREFUSED' },
    });
  });

  it('has a name that nobody knows', async () => {
    const client = parts.client(1, { url: 'http://nowhere.invalid:10810' });
    expect(await outcome(client)).toMatchObject({ code: 'peer_unreachable' });
  });

  it('speaks HTTP/1.1 alone', async () => {
    const server = http.createServer((_, response) => response.end('hello'));
    const port = await new Promise<number>((resolve) => {
      server.listen(0, '127.0.0.1', () => resolve((server.address() as net.AddressInfo).port));
    });
    try {
      const error = await outcome(parts.client(port));
      expect(error).toMatchObject({ code: 'protocol_violated' });
      expect((error as JnbdError).message).toContain('does not speak HTTP/2');
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });

  it('sends garbage', async () => {
    const port = await parts.bare((socket) => socket.write(Buffer.alloc(5000, 0x58)));
    expect(await outcome(parts.client(port))).toMatchObject({ code: 'protocol_violated' });
  });

  it('accepts and says nothing', async () => {
    const port = await parts.bare(() => undefined);
    expect(await outcome(parts.client(port, {}, hasty))).toMatchObject({
      code: 'peer_silent',
      kind: 'retryable',
    });
  });

  it('accepts and closes', async () => {
    const port = await parts.bare((socket) => socket.destroy());
    const error = await outcome(parts.client(port));
    expect(error).toMatchObject({ code: 'connection_lost', kind: 'retryable' });
    expect((error as JnbdError).message).toContain('use https://');
  });

  it.each<[Partial<TransportTarget>, string]>([
    [{ url: 'nowhere' }, 'argument_invalid'],
    [{ url: 'ftp://127.0.0.1:1' }, 'argument_invalid'],
    [{ url: 'http://127.0.0.1:1/path' }, 'argument_invalid'],
    [{ url: 'http://user@127.0.0.1:1' }, 'argument_invalid'],
    [{ url: 'https://127.0.0.1:1' }, 'certificate_invalid'],
    [{ connections: 0 }, 'argument_invalid'],
    [{ windowBytes: 10 }, 'argument_invalid'],
  ])('is a target such as %j', (change, code) => {
    const target = { url: 'http://127.0.0.1:1', connections: 1, windowBytes: 1 * MiB, ...change };
    expect(() => http2Transport.connect(target)).toThrow(
      expect.objectContaining({ name: 'JnbdError', code }),
    );
  });
});

describe('a source that stalls', () => {
  it('before it answers', async () => {
    const port = await parts.port(() => undefined);
    const client = parts.client(port.address.port);
    const limits = { headMilliseconds: 200, silenceMilliseconds: 10_000 };
    const error = await outcome(client, limits);
    expect(error).toMatchObject({ code: 'peer_silent', kind: 'retryable' });
    expect((error as JnbdError).message).toContain('did not answer');
    // The connection is not to blame.
    expect(client.connections()[0]?.state).toBe('connected');
  });

  it('in the middle of an answer', async () => {
    const port = await parts.port((_, answer) => {
      answer.head(200, { 'content-length': '1000' });
      answer.send(Buffer.alloc(10), () => undefined);
    });
    const client = parts.client(port.address.port);
    const limits = { headMilliseconds: 10_000, silenceMilliseconds: 200 };
    const error = await outcome(client, limits);
    expect(error).toMatchObject({ code: 'peer_silent', kind: 'retryable' });
    expect((error as JnbdError).message).toContain('sent nothing');
  });

  it('is not blamed while it is not read', async () => {
    const port = await parts.port((_, answer) => {
      answer.head(200, {});
      answer.send(Buffer.alloc(100), () => answer.end());
    });
    const gathered = new Gathered();
    const limits = { headMilliseconds: 10_000, silenceMilliseconds: 100 };
    const exchange = parts.client(port.address.port).request(get, limits, gathered);
    exchange.pause();
    await gathered.answered;
    await new Promise((resolve) => setTimeout(resolve, 300));
    exchange.resume();
    expect(await gathered.over).toBe('ended');
  });

  it('whole, without closing anything', async () => {
    const port = await parts.port((_, answer) => answer.head(200, {}));
    const way = await freezableWay(parts, port.address.port);
    const client = parts.client(way.port, {}, hasty);
    const gathered = new Gathered();
    client.request(get, patient, gathered);
    await gathered.answered;
    // As long as it answers pings, waiting long is nothing wrong.
    const early = await Promise.race([
      gathered.over,
      new Promise((resolve) => setTimeout(() => resolve('waiting'), 900)),
    ]);
    expect(early).toBe('waiting');
    way.freeze();
    const error = await gathered.over;
    expect(error).toMatchObject({ code: 'peer_silent', kind: 'retryable' });
    expect((error as JnbdError).message).toContain('said nothing');
    expect(client.connections()[0]?.state).toBe('idle');
  });
});

describe('an answer of a source that cannot be trusted', () => {
  it('has headers without end', async () => {
    const port = await parts.port((_, answer) => {
      const headers: Record<string, string> = {};
      for (let i = 0; i < 300; i += 1) headers[`jnbd-header-${i}`] = 'x'.repeat(400);
      answer.head(200, headers);
      answer.end();
    });
    const client = parts.client(port.address.port);
    expect(await outcome(client)).toMatchObject({ kind: 'retryable' });
  });

  it('says that it is longer than anything', async () => {
    const port = await parts.port((_, answer) => {
      answer.head(200, { 'content-length': String(2 ** 50) });
    });
    expect(await outcome(parts.client(port.address.port))).toMatchObject({
      code: 'protocol_violated',
    });
  });

  it('is longer than it says', async () => {
    const port = await parts.port((_, answer) => {
      answer.head(200, { 'content-length': '10' });
      answer.send(Buffer.alloc(100), () => undefined);
      answer.end();
    });
    expect(await outcome(parts.client(port.address.port))).toMatchObject({ kind: 'retryable' });
  });

  it('is shorter than it says', async () => {
    const port = await parts.port((_, answer) => {
      answer.head(200, { 'content-length': '100' });
      answer.send(Buffer.alloc(10), () => undefined);
      answer.end();
    });
    expect(await outcome(parts.client(port.address.port))).toMatchObject({
      code: 'connection_lost',
    });
  });
});

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
    const rights = { groups: ['data'], access: 'read' } as const;
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

  it('of ours without rights are told so', async () => {
    const port = await listen({ rightsOf: () => undefined });
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
