import { randomBytes } from 'node:crypto';
import net from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import type {
  IncomingRequest,
  TransportTarget,
} from '../../../src/replicator/transport/transport.ts';
import { wholeAnswer } from '../../../src/replicator/transport/whole-answer.ts';
import { jsonBytesMax } from '../../../src/replicator/protocol/wire.ts';
import { writeCertificates } from '../../support/certificates.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../../support/temporary.ts';
import {
  clientCredentials,
  freezableWay,
  Gathered,
  Parts,
  patient,
  serverCredentials,
  when,
} from './transport-parts.ts';

let directory: TemporaryDirectory;
const parts = new Parts();

beforeAll(async () => {
  directory = temporaryDirectory('http2');
  await writeCertificates(directory.path);
});
afterEach(() => parts.close());
afterAll(() => directory.remove());

const get = { method: 'GET', path: '/x', headers: {} } as const;

describe.each(['cleartext', 'TLS'])('over %s', (kind) => {
  const isSecure = kind === 'TLS';
  const tls = () => (isSecure ? { tls: serverCredentials(directory.path) } : {});
  const credentials = () => (isSecure ? { credentials: clientCredentials(directory.path) } : {});
  const connect = (port: number, target: Partial<TransportTarget> = {}) =>
    parts.client(port, { ...credentials(), ...target });

  it('a request arrives whole and so does its answer', async () => {
    let asked: IncomingRequest | undefined;
    const port = await parts.port((request, answer) => {
      asked = request;
      answer.head(201, { 'jnbd-first': '7', 'content-length': '5' });
      answer.send(Buffer.from('whole'), () => undefined);
      answer.end();
    }, tls());
    const body = randomBytes(300 * KiB);
    const answer = await wholeAnswer(
      connect(port.address.port),
      { method: 'POST', path: '/v1/a?b=c', headers: { 'jnbd-name': 'first' }, body },
      patient,
    );
    expect(answer.status).toBe(201);
    expect(answer.headers).toMatchObject({ 'jnbd-first': '7', 'content-length': '5' });
    expect(Buffer.from(answer.body).toString()).toBe('whole');
    expect(asked).toMatchObject({ method: 'POST', path: '/v1/a', query: 'b=c' });
    expect(asked?.headers).toMatchObject({
      'jnbd-name': 'first',
      'content-length': String(body.length),
      host: `127.0.0.1:${port.address.port}`,
    });
    expect(body.equals(asked?.body ?? Buffer.alloc(0))).toBe(true);
    expect(asked?.peer).toMatch(/^127\.0\.0\.1:\d+$/);
    expect(asked?.identity.kind).toBe(isSecure ? 'certificate' : 'loopback');
  });

  it('an answer without a body ends with its head', async () => {
    const port = await parts.port((_, answer) => {
      answer.head(204, { 'jnbd-first': '1' });
      answer.end();
    }, tls());
    const answer = await wholeAnswer(connect(port.address.port), get, patient);
    expect(answer).toMatchObject({ status: 204, headers: { 'jnbd-first': '1' } });
    expect(answer.body.length).toBe(0);
  });

  it('long answers come in order and as they are, several at a time', async () => {
    const bodies = [0, 1, 2, 3].map(() => randomBytes(3 * MiB + 17));
    const port = await parts.port((request, answer) => {
      const body = bodies[Number(request.query)] ?? Buffer.alloc(0);
      answer.head(200, { 'content-length': String(body.length) });
      answer.send(body.subarray(0, 1 * MiB), () => undefined);
      answer.send(body.subarray(1 * MiB), () => answer.end());
    }, tls());
    const client = connect(port.address.port, { connections: 2 });
    const gathered = bodies.map((_, index) => {
      const each = new Gathered();
      client.request({ ...get, path: `/x?${index}` }, patient, each);
      return each;
    });
    for (const [index, each] of gathered.entries()) {
      expect(await each.over).toBe('ended');
      expect(each.content.equals(bodies[index] ?? Buffer.alloc(0))).toBe(true);
    }
    expect(client.connections().map(({ state }) => state)).toEqual(['connected', 'connected']);
    expect(port.connectionCount).toBe(2);
  });

  it('the head comes before the body is there', async () => {
    let finish: (() => void) | undefined;
    const port = await parts.port((_, answer) => {
      answer.head(200, { 'jnbd-through': '1:2:3' });
      finish = () => {
        answer.send(Buffer.from('late'), () => undefined);
        answer.end();
      };
    }, tls());
    const gathered = new Gathered();
    connect(port.address.port).request(get, patient, gathered);
    await gathered.answered;
    expect(gathered.headers['jnbd-through']).toBe('1:2:3');
    expect(gathered.bytes).toBe(0);
    finish?.();
    expect(await gathered.over).toBe('ended');
    expect(gathered.content.toString()).toBe('late');
  });

  it('a client that does not read holds the sender back, and nobody else', async () => {
    const piece = Buffer.alloc(1 * MiB, 5);
    let taken = 0;
    const port = await parts.port((request, answer) => {
      if (request.path === '/other') {
        answer.head(200, {});
        answer.send(piece, () => answer.end());
        return;
      }
      answer.head(200, {});
      const more = (): void => {
        if (taken === 40) return answer.end();
        answer.send(piece, () => {
          taken += 1;
          more();
        });
      };
      more();
    }, tls());
    const client = connect(port.address.port);
    const gathered = new Gathered();
    gathered.keeps = false;
    const exchange = client.request(get, patient, gathered);
    gathered.onBody = () => {
      gathered.onBody = undefined;
      exchange.pause();
    };
    await when('a piece is taken', () => taken > 0);
    await new Promise((resolve) => setTimeout(resolve, 200));
    // A window, and what slices and sockets hold.
    expect(taken).toBeLessThan(8);
    expect(gathered.bytes).toBeLessThan(256 * KiB);
    const other = await wholeAnswer(client, { ...get, path: '/other' }, patient);
    expect(other.body.length).toBe(piece.length);
    expect(taken).toBeLessThan(8);
    exchange.resume();
    expect(await gathered.over).toBe('ended');
    expect(gathered.bytes).toBe(40 * MiB);
  });

  it('a request that is given up is known at the other side', async () => {
    let gone = 0;
    let taken = 0;
    const port = await parts.port((_, answer) => {
      answer.whenGone(() => {
        gone += 1;
      });
      answer.head(200, {});
      answer.send(Buffer.alloc(8 * MiB), () => {
        taken += 1;
      });
    }, tls());
    const client = connect(port.address.port);
    const gathered = new Gathered();
    const exchange = client.request(get, patient, gathered);
    gathered.onBody = () => exchange.pause();
    await gathered.answered;
    expect([gone, taken]).toEqual([0, 0]);
    exchange.abort();
    exchange.abort();
    expect(await gathered.over).toMatchObject({ code: 'request_aborted' });
    await when('the request is gone', () => gone === 1 && taken === 1);
    // The connection is as good as before.
    const next = new Gathered();
    client.request(get, patient, next).pause();
    await next.answered;
    expect(port.connectionCount).toBe(1);
  });

  it('an answer that is broken off is never taken for a whole one', async () => {
    const port = await parts.port((request, answer) => {
      if (request.path === '/before') return answer.abort();
      answer.head(200, request.path === '/sized' ? { 'content-length': '1000' } : {});
      answer.send(Buffer.alloc(100), () => answer.abort());
    }, tls());
    const client = connect(port.address.port);
    for (const path of ['/before', '/sized', '/open']) {
      const gathered = new Gathered();
      client.request({ ...get, path }, patient, gathered);
      expect(await gathered.over).toMatchObject({ code: 'connection_lost', kind: 'retryable' });
    }
  });

  it('a connection that breaks fails what is under way, and the next request makes another', async () => {
    const port = await parts.port((request, answer) => {
      answer.head(200, {});
      answer.send(Buffer.alloc(100), () => undefined);
      if (request.path === '/x') answer.end();
    }, tls());
    const way = await freezableWay(parts, port.address.port);
    const client = connect(way.port, { connections: 2 });
    const open = ['/open', '/open'].map((path) => {
      const gathered = new Gathered();
      client.request({ ...get, path }, patient, gathered);
      return gathered;
    });
    await Promise.all(open.map(({ answered }) => answered));
    way.cut();
    for (const each of open) {
      expect(await each.over).toMatchObject({ code: 'connection_lost', kind: 'retryable' });
    }
    expect(client.connections().map(({ state }) => state)).toEqual(['idle', 'idle']);
    expect((await wholeAnswer(client, get, patient)).body.length).toBe(100);
    const { receivedBytes = 0 } = client.connections()[0] ?? {};
    expect(receivedBytes).toBeGreaterThan(200);
  });

  it('a port that closes lets answers end, and is found again when it is back', async () => {
    let finish: (() => void) | undefined;
    const first = await parts.port((_, answer) => {
      answer.head(200, {});
      finish = () => {
        answer.send(Buffer.from('last'), () => undefined);
        answer.end();
      };
    }, tls());
    const { address } = first;
    const client = connect(address.port);
    const gathered = new Gathered();
    client.request(get, patient, gathered);
    await gathered.answered;
    const closed = first.close(5_000);
    const refused = new Gathered();
    await when('the source leaves', () => client.connections()[0]?.state === 'idle');
    client.request(get, patient, refused);
    expect(await refused.over).toMatchObject({ code: 'peer_unreachable', kind: 'retryable' });
    finish?.();
    expect(await gathered.over).toBe('ended');
    expect(gathered.content.toString()).toBe('last');
    await closed;
    expect(first.connectionCount).toBe(0);
    await parts.port(
      (_, answer) => {
        answer.head(200, {});
        answer.end();
      },
      { ...tls(), address },
    );
    expect((await wholeAnswer(client, get, patient)).status).toBe(200);
  });

  it('a client that closes fails what is under way, and asks nothing more', async () => {
    let gone = false;
    const port = await parts.port((_, answer) => {
      answer.whenGone(() => {
        gone = true;
      });
      answer.head(200, {});
    }, tls());
    const client = connect(port.address.port);
    const gathered = new Gathered();
    client.request(get, patient, gathered);
    await gathered.answered;
    client.close();
    expect(await gathered.over).toMatchObject({ code: 'request_aborted' });
    const late = new Gathered();
    client.request(get, patient, late);
    expect(await late.over).toMatchObject({ code: 'request_aborted' });
    await when('the client is gone', () => gone && port.connectionCount === 0);
  });

  it('a request that is too long is refused', async () => {
    let asked = 0;
    const port = await parts.port((_, answer) => {
      asked += 1;
      answer.head(200, {});
      answer.end();
    }, tls());
    const client = connect(port.address.port);
    const body = Buffer.alloc(jsonBytesMax + 1);
    const answer = await wholeAnswer(client, { ...get, method: 'POST', body }, patient);
    expect(answer.status).toBe(400);
    expect(JSON.parse(Buffer.from(answer.body).toString())).toMatchObject({
      code: 'argument_invalid',
    });
    const fits = body.subarray(1);
    expect(
      (await wholeAnswer(client, { ...get, method: 'POST', body: fits }, patient)).status,
    ).toBe(200);
    expect(asked).toBe(1);
  });

  it('an answer that is longer than asked for is not gathered', async () => {
    const port = await parts.port((_, answer) => {
      answer.head(200, {});
      answer.send(Buffer.alloc(jsonBytesMax + 1), () => answer.end());
    }, tls());
    await expect(wholeAnswer(connect(port.address.port), get, patient)).rejects.toMatchObject({
      code: 'protocol_violated',
    });
  });
});

describe('the memory of an answer that is broken off', () => {
  it('is given back only when nothing of it can be sent any more', async () => {
    const body = Buffer.alloc(64 * MiB, 0xa1);
    let taken = false;
    let breakOff = (): void => undefined;
    const port = await parts.port((_, answer) => {
      answer.head(200, {});
      answer.send(body, () => {
        taken = true;
        body.fill(0xb2);
      });
      breakOff = () => answer.abort();
    });
    let socketBytes = 0;
    let others = 0;
    let isHeldUp = false;
    let source: net.Socket | undefined;
    const way = await parts.bare((socket) => {
      const beyond = net.connect(port.address.port, '127.0.0.1');
      source = beyond;
      beyond.on('error', () => undefined);
      socket.pipe(beyond);
      beyond.on('data', (chunk) => {
        socketBytes += chunk.length;
        if (chunk.includes(Buffer.alloc(64, 0xb2))) others += 1;
        socket.write(chunk);
        if (socketBytes > MiB && !isHeldUp) {
          isHeldUp = true;
          beyond.pause();
        }
      });
      beyond.once('close', () => socket.destroy());
    });
    const gathered = new Gathered();
    gathered.keeps = false;
    parts.client(way, { windowBytes: 256 * MiB }).request(get, patient, gathered);
    await when('it is held up', () => isHeldUp);
    await new Promise((resolve) => setTimeout(resolve, 300));
    breakOff();
    await new Promise((resolve) => setTimeout(resolve, 100));
    // The kernel still takes from it.
    expect(taken).toBe(false);

    source?.resume();
    await when('all has arrived', () => taken);
    expect(await gathered.over).toMatchObject({ code: 'connection_lost' });
    expect(others).toBe(0);
  });
});
