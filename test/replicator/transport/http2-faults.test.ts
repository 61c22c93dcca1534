import http from 'node:http';
import type net from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { JnbdError } from '../../../src/platform/errors.ts';
import { MiB } from '../../../src/platform/limits.ts';
import { http2Transport } from '../../../src/replicator/transport/http2-transport.ts';
import type { TransportTarget } from '../../../src/replicator/transport/transport.ts';
import { freePort } from '../../support/children.ts';
import { freezableWay, Gathered, outcome, Parts, patient } from './transport-parts.ts';

const parts = new Parts();
afterEach(() => parts.close());

const get = { method: 'GET', path: '/x', headers: {} } as const;
const hasty = { connectMilliseconds: 300, pingMilliseconds: 100, silenceMilliseconds: 400 };

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
