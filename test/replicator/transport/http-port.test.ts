import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import https from 'node:https';
import net from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { MiB } from '../../../src/platform/limits.ts';
import type { HttpPort } from '../../../src/replicator/transport/http-port.ts';
import type {
  IncomingRequest,
  TransportHandler,
} from '../../../src/replicator/transport/transport.ts';
import { wholeAnswer } from '../../../src/replicator/transport/whole-answer.ts';
import { writeCertificates } from '../../support/certificates.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../../support/temporary.ts';
import { Gathered, Parts, patient, serverCredentials, when } from './transport-parts.ts';

const parts = new Parts();
afterEach(() => parts.close());

const get = { method: 'GET', path: '/x', headers: {} } as const;
const hello: TransportHandler = (request, answer) => {
  const text = `${request.method} ${request.path} ${request.identity.kind}\n`;
  answer.head(200, { 'content-type': 'text/plain', 'content-length': String(text.length) });
  answer.send(Buffer.from(text), () => undefined);
  answer.end();
};

describe('HTTP/1.1 on the same port', () => {
  it('is answered by the same handler, also again over the same connection', async () => {
    const port = await parts.port(hello);
    const socket = parts.socket(port.address.port);
    socket.write('GET /status?a=b HTTP/1.1\r\nHost: localhost:1\r\n\r\n');
    await when('answered', () => socket.text.includes('GET /status loopback\n'));
    expect(socket.text).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    socket.write('GET /healthz HTTP/1.1\r\nHost: localhost:1\r\nConnection: close\r\n\r\n');
    await socket.closed;
    expect(socket.text).toContain('GET /healthz loopback\n');
    // Beside it the other protocol, as ever.
    const answer = await wholeAnswer(parts.client(port.address.port), get, patient);
    expect(Buffer.from(answer.body).toString()).toBe('GET /x loopback\n');
  });

  it('brings bodies and headers', async () => {
    let asked: IncomingRequest | undefined;
    const port = await parts.port((request, answer) => {
      asked = request;
      hello(request, answer);
    });
    const socket = parts.socket(port.address.port);
    socket.write(
      'POST /v1 HTTP/1.1\r\nHost: me\r\nJnbd-Name: n\r\nContent-Length: 10\r\n\r\n01234',
    );
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(asked).toBeUndefined();
    socket.write('56789');
    await when('asked', () => asked !== undefined);
    expect(Buffer.from(asked?.body ?? []).toString()).toBe('0123456789');
    expect(asked?.headers).toMatchObject({ host: 'me', 'jnbd-name': 'n' });
  });

  it('is recognized when its first bytes come one by one', async () => {
    const port = await parts.port(hello);
    for (const text of ['PUT /p', 'PROPFIND /p', 'GET /p']) {
      const socket = parts.socket(port.address.port);
      for (const letter of `${text} HTTP/1.1\r\nHost: a\r\n\r\n`) {
        socket.write(letter);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      await when('answered', () => socket.text.includes(`${text} loopback`));
      socket.destroy();
    }
  });

  it('of a HEAD request has no body', async () => {
    const port = await parts.port(hello);
    const socket = parts.socket(port.address.port);
    socket.write('HEAD /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    await socket.closed;
    expect(socket.text).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(socket.text).toMatch(/\r\n\r\n$/);
  });

  it('streams, and is cut where the handler breaks off', async () => {
    const port = await parts.port((_, answer) => {
      answer.head(200, { 'content-length': '1000' });
      answer.send(Buffer.alloc(100, 0x61), () => answer.abort());
    });
    const socket = parts.socket(port.address.port);
    socket.write('GET /x HTTP/1.1\r\nHost: a\r\n\r\n');
    await socket.closed;
    expect(socket.text.endsWith('a'.repeat(100))).toBe(true);
  });

  it('tells the handler when the client goes away', async () => {
    let gone = 0;
    let taken = 0;
    const port = await parts.port((_, answer) => {
      answer.whenGone(() => {
        gone += 1;
      });
      answer.head(200, {});
      answer.send(Buffer.alloc(64 * MiB), () => {
        taken += 1;
      });
    });
    const socket = parts.socket(port.address.port);
    socket.write('GET /x HTTP/1.1\r\nHost: a\r\n\r\n');
    await when('answered', () => socket.text.length > 0);
    socket.pause();
    expect([gone, taken]).toEqual([0, 0]);
    socket.destroy();
    await when('gone', () => gone === 1 && taken === 1);
  });
});

describe('over TLS', () => {
  let directory: TemporaryDirectory;
  beforeAll(async () => {
    directory = temporaryDirectory('http-port');
    await writeCertificates(directory.path);
  });
  afterAll(() => directory.remove());

  it('HTTP/1.1 is answered too, and cleartext of this machine beside it', async () => {
    const port = await parts.port(hello, { tls: serverCredentials(directory.path, 'optional') });
    const ca = readFileSync(join(directory.path, 'ca-cert.pem'));
    const text = await new Promise<string>((resolve, reject) => {
      const url = `https://127.0.0.1:${port.address.port}/metrics`;
      https
        .get(url, { ca, agent: false }, (response) => {
          let body = '';
          response.on('data', (chunk: Buffer) => {
            body += chunk.toString();
          });
          response.once('end', () => resolve(`${response.httpVersion} ${body}`));
        })
        .once('error', reject);
    });
    expect(text).toBe('1.1 GET /metrics loopback\n');
    const plain = await wholeAnswer(parts.client(port.address.port), get, patient);
    expect(plain.status).toBe(200);
  });
});

describe('a port that is not to be had', () => {
  it('is named', async () => {
    const port = await parts.port(hello);
    await expect(parts.port(hello, { address: port.address })).rejects.toMatchObject({
      code: 'address_in_use',
    });
    const address = { kind: 'tcp', host: '192.0.2.1', port: 0 } as const;
    await expect(parts.port(hello, { address })).rejects.toMatchObject({
      code: 'address_not_allowed',
    });
  });
});

/** HTTP/2 spoken by Node's own client, with nothing of ours about it. */
function bareSession(port: number, options: http2.ClientSessionOptions = {}) {
  const session = http2.connect(`http://127.0.0.1:${port}`, options);
  session.on('error', () => undefined);
  return session;
}

describe('clients that mean ill', () => {
  const times = { requestMilliseconds: 300, stallMilliseconds: 300, silenceMilliseconds: 1_000 };

  /** The port still serves others. */
  async function stillServes(port: HttpPort): Promise<void> {
    const client = parts.client(port.address.port);
    expect((await wholeAnswer(client, get, patient)).status).toBe(200);
    client.close();
  }

  it.each([
    ['nothing', ''],
    ['a first byte', 'P'],
    ['half the preface', 'PRI * HTTP/2.0\r\n\r\n'],
    ['the preface alone', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['half a request', 'GET /x HTTP/1.1\r\nHost: a\r\nX-A: '],
    ['half a body', 'POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345'],
  ])('and send %s and no more lose their connection', async (_, text) => {
    const port = await parts.port(hello, {}, times);
    const socket = parts.socket(port.address.port);
    const begun = performance.now();
    socket.write(text);
    await socket.closed;
    expect(performance.now() - begun).toBeLessThan(5_000);
    await when('forgotten', () => port.connectionCount === 0);
    await stillServes(port);
  });

  it.each([
    ['garbage', Buffer.alloc(20_000, 0xa5)],
    ['a TLS handshake', Buffer.from([0x16, 3, 1, 0, 100, 1, 0, 0, 96])],
    ['HTTP/0.9', Buffer.from('GET /x\r\n\r\n')],
    ['a frame that is too large', frame(0xffffff, 0, 0, 1)],
    ['frames for streams that are not there', Buffer.concat(Array(500).fill(frame(4, 8, 0, 77)))],
    ['settings without end', Buffer.concat(Array(20_000).fill(frame(0, 4, 0, 0)))],
  ])('and send %s harm nobody', async (_, bytes) => {
    const port = await parts.port(hello, {}, times);
    const socket = parts.socket(port.address.port);
    if (bytes[0] === 0) socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    socket.write(bytes);
    await stillServes(port);
    await socket.closed;
    await when('forgotten', () => port.connectionCount === 0);
  });

  it('and send huge headers are refused', async () => {
    const port = await parts.port(hello, {}, times);
    const socket = parts.socket(port.address.port);
    socket.write(`GET /x HTTP/1.1\r\nHost: a\r\nX-A: ${'x'.repeat(200_000)}\r\n\r\n`);
    await socket.closed;
    expect(socket.text === '' || socket.text.startsWith('HTTP/1.1 431')).toBe(true);
    const session = bareSession(port.address.port, { maxSendHeaderBlockLength: 1 << 20 });
    const headers: Record<string, string> = { ':path': '/x' };
    for (let i = 0; i < 60; i += 1) headers[`x-${i}`] = 'x'.repeat(1_000);
    const stream = session.request(headers);
    const status = await new Promise((resolve) => {
      stream.once('response', (answered) => resolve(answered[':status']));
    });
    expect(status).toBe(400);
    session.destroy();
    await stillServes(port);
  });

  it('and take nothing of an answer lose it, and its memory is free again', async () => {
    let taken = 0;
    let gone = 0;
    const port = await parts.port(
      (request, answer) => {
        if (request.path !== '/long') return hello(request, answer);
        answer.whenGone(() => {
          gone += 1;
        });
        answer.head(200, {});
        answer.send(Buffer.alloc(64 * MiB), () => {
          taken += 1;
        });
      },
      {},
      times,
    );
    const socket = parts.socket(port.address.port);
    socket.write('GET /long HTTP/1.1\r\nHost: a\r\n\r\n');
    await when('answered', () => socket.text.length > 0);
    socket.pause();
    await when('cut off', () => gone === 1 && taken === 1);
    const session = bareSession(port.address.port);
    const stream = session.request({ ':path': '/long' });
    stream.on('error', () => undefined);
    stream.pause();
    await when('cut off', () => gone === 2 && taken === 2);
    session.destroy();
    await stillServes(port);
  });

  it('and reset their requests as fast as they make them are bounded', async () => {
    const port = await parts.port(hello, {}, times);
    const session = bareSession(port.address.port);
    await new Promise((resolve) => session.once('remoteSettings', resolve));
    for (let i = 0; i < 3_000 && !session.destroyed; i += 1) {
      const stream = session.request({ ':path': '/x' });
      stream.on('error', () => undefined);
      stream.close(http2.constants.NGHTTP2_CANCEL);
      if (i % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await stillServes(port);
    session.destroy();
    await when('forgotten', () => port.connectionCount === 0);
  });

  it.each([0, 5, 7, 8])('and take a request back with code %i hear nothing of it', async (code) => {
    let gone = 0;
    let answerLate: (() => void) | undefined;
    const port = await parts.port((request, answer) => {
      if (request.path !== '/late') return hello(request, answer);
      answer.whenGone(() => {
        gone += 1;
      });
      answerLate = () => hello(request, answer);
    });
    const session = bareSession(port.address.port);
    const stream = session.request({ ':path': '/late' });
    stream.on('error', () => undefined);
    await when('asked', () => answerLate !== undefined);
    stream.close(code);
    await new Promise((resolve) => setTimeout(resolve, 20));
    answerLate?.();
    await stillServes(port);
    session.destroy();
    await when('gone', () => gone === 1 && port.connectionCount === 0);
  });

  it('and ask many things at once wait for their turn', async () => {
    let open = 0;
    let most = 0;
    const port = await parts.port((_, answer) => {
      open += 1;
      most = Math.max(most, open);
      setTimeout(() => {
        open -= 1;
        answer.head(204, {});
        answer.end();
      }, 20);
    });
    const client = parts.client(port.address.port);
    const all = Array.from({ length: 200 }, () => {
      const gathered = new Gathered();
      client.request(get, patient, gathered);
      return gathered.over;
    });
    expect(new Set(await Promise.all(all))).toEqual(new Set(['ended']));
    expect(most).toBeLessThanOrEqual(64);
  });

  it('and are many make room for those that ask something', async () => {
    const port = await parts.port(hello, { connectionsMax: 3 });
    const idle = [1, 2, 3].map(() => parts.socket(port.address.port));
    await when('all are there', () => port.connectionCount === 3);
    await stillServes(port);
    await idle[0]?.closed;
    expect(port.connectionCount).toBeLessThanOrEqual(3);
  });

  it('and are many, all of them served, keep others out', async () => {
    const port = await parts.port((_, answer) => answer.head(200, {}), { connectionsMax: 2 });
    const busy = [1, 2].map(async () => {
      const gathered = new Gathered();
      parts.client(port.address.port).request(get, patient, gathered);
      await gathered.answered;
    });
    await Promise.all(busy);
    const late = net.connect(port.address.port, '127.0.0.1');
    late.on('error', () => undefined);
    await new Promise((resolve) => late.once('close', resolve));
    expect(port.connectionCount).toBe(2);
  });

  it('and send many long bodies at once are told to wait', async () => {
    const port = await parts.port(hello);
    const client = parts.client(port.address.port, { connections: 8 });
    const body = Buffer.alloc(4 * MiB);
    const statuses = await Promise.all(
      Array.from({ length: 8 }, async () => {
        const post = { method: 'POST', path: '/x', headers: {}, body } as const;
        return (await wholeAnswer(client, post, patient)).status;
      }),
    );
    expect(statuses.every((status) => status === 200 || status === 503)).toBe(true);
    expect(statuses).toContain(503);
    await stillServes(port);
  });
});

function frame(length: number, type: number, flags: number, stream: number): Buffer {
  const bytes = Buffer.alloc(9 + Math.min(length, 64));
  bytes.writeUIntBE(length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream, 5);
  return bytes;
}
