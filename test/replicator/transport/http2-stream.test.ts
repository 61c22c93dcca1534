import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { JnbdError } from '../../../src/platform/errors.ts';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import type { Answer, TransportTarget } from '../../../src/replicator/transport/transport.ts';
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
  directory = temporaryDirectory('http2-stream');
  await writeCertificates(directory.path);
});
afterEach(() => parts.close());
afterAll(() => directory.remove());

const isStream = (method: string, path: string): boolean => method === 'POST' && path === '/s';
const stream = { method: 'POST', path: '/s', headers: {}, isStream: true } as const;

describe.each(['cleartext', 'TLS'])('a stream over %s', (kind) => {
  const isSecure = kind === 'TLS';
  const tls = () => (isSecure ? { tls: serverCredentials(directory.path) } : {});
  const credentials = () => (isSecure ? { credentials: clientCredentials(directory.path) } : {});
  const connect = (port: number, target: Partial<TransportTarget> = {}) =>
    parts.client(port, { ...credentials(), ...target });

  it('carries both ways at once what each side says, as it is said, and ends with the answer', async () => {
    let answer: Answer | undefined;
    const received: Buffer[] = [];
    const port = await parts.port(
      (request, given) => {
        answer = given;
        given.head(200, {});
        request.stream?.receive((bytes) => received.push(Buffer.from(bytes)));
      },
      { ...tls(), isStream },
    );
    const gathered = new Gathered();
    const exchange = connect(port.address.port).request(stream, patient, gathered);
    await gathered.answered;
    const sent: Buffer[] = [];
    for (let round = 0; round < 20; round += 1) {
      const question = randomBytes(round * 500 + 1);
      sent.push(question);
      await new Promise<void>((taken) => exchange.write(question, taken));
      const there = (): number => Buffer.concat(received).length;
      await when('it arrives', () => there() === Buffer.concat(sent).length);
      const before = gathered.bytes;
      answer?.send(randomBytes(round * 700 + 1), () => undefined);
      await when('the answer arrives', () => gathered.bytes === before + round * 700 + 1);
    }
    expect(Buffer.concat(received).equals(Buffer.concat(sent))).toBe(true);
    answer?.end();
    expect(await gathered.over).toBe('ended');
    const again = new Gathered();
    connect(port.address.port).request(stream, patient, again);
    await again.answered;
    expect(again.status, 'the port serves on').toBe(200);
  });

  it('is told to its handler before anything of its body, and refused without reading it', async () => {
    const port = await parts.port(
      (_, answer) => {
        answer.head(409, { 'content-length': '2' });
        answer.send(Buffer.from('no'), () => undefined);
        answer.end();
      },
      { ...tls(), isStream },
    );
    const gathered = new Gathered();
    connect(port.address.port).request(stream, patient, gathered);
    expect(await gathered.over).toBe('ended');
    expect([gathered.status, gathered.content.toString()]).toEqual([409, 'no']);
  });

  it('that either side gives up is over for the other one', async () => {
    const gone: string[] = [];
    let answer: Answer | undefined;
    const port = await parts.port(
      (request, given) => {
        answer = given;
        given.whenGone(() => gone.push('gone'));
        given.head(200, {});
        request.stream?.receive(() => undefined);
      },
      { ...tls(), isStream },
    );
    const client = connect(port.address.port);
    const first = new Gathered();
    const exchange = client.request(stream, patient, first);
    await first.answered;
    exchange.abort();
    await when('the source hears of it', () => gone.length === 1);
    const second = new Gathered();
    client.request(stream, patient, second);
    await second.answered;
    answer?.abort();
    const error = await second.over;
    expect(error).toBeInstanceOf(JnbdError);
    expect((error as JnbdError).code).toBe('connection_lost');
  });
});

describe('a stream', () => {
  it('outlives the time that a request has to arrive in', async () => {
    const received: Buffer[] = [];
    const times = { requestMilliseconds: 100, idleMilliseconds: 100 };
    const port = await parts.port(
      (request, answer) => {
        answer.head(200, {});
        request.stream?.receive((bytes) => received.push(Buffer.from(bytes)));
      },
      { isStream },
      times,
    );
    const gathered = new Gathered();
    const exchange = parts.client(port.address.port).request(stream, patient, gathered);
    await gathered.answered;
    await new Promise((resolve) => setTimeout(resolve, 600));
    exchange.write(Buffer.from('late'), () => undefined);
    await when('it arrives', () => Buffer.concat(received).toString() === 'late');
  });

  it('says when what was sent is taken, and holds no more than that where nothing is', async () => {
    let isTaken = false;
    const port = await parts.port(
      (request, answer) => {
        answer.head(200, {});
        request.stream?.receive(() => undefined);
        answer.send(Buffer.alloc(8 * MiB), () => {
          isTaken = true;
        });
      },
      { isStream },
    );
    const gathered = new Gathered();
    const exchange = parts
      .client(port.address.port, { windowBytes: 64 * KiB })
      .request(stream, patient, gathered);
    gathered.onHead = () => exchange.pause();
    await gathered.answered;
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(isTaken).toBe(false);
    exchange.resume();
    await when('all of it is taken', () => isTaken && gathered.bytes === 8 * MiB);
  });

  it('in which the source says nothing is over in its time', async () => {
    const port = await parts.port(
      (request, answer) => {
        answer.head(200, {});
        request.stream?.receive(() => undefined);
      },
      { isStream },
    );
    const way = await freezableWay(parts, port.address.port);
    const gathered = new Gathered();
    const limits = { headMilliseconds: 5000, silenceMilliseconds: 200 };
    parts.client(way.port).request(stream, limits, gathered);
    await gathered.answered;
    way.freeze();
    expect(((await gathered.over) as JnbdError).code).toBe('peer_silent');
  });

  it('is none over HTTP/1.1: its body is gathered as any other', async () => {
    const asked: string[] = [];
    const port = await parts.port(
      (request, answer) => {
        asked.push(
          `${request.stream ? 'stream' : 'whole'} ${Buffer.from(request.body).toString()}`,
        );
        answer.head(204, {});
        answer.end();
      },
      { isStream },
    );
    const { host, port: number } = port.address;
    const response = await fetch(`http://${host}:${number}/s`, { method: 'POST', body: 'all' });
    expect([response.status, asked]).toEqual([204, ['whole all']]);
  });
});
