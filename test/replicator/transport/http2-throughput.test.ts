import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { MiB } from '../../../src/platform/limits.ts';
import { writeCertificates } from '../../support/certificates.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../../support/temporary.ts';
import {
  clientCredentials,
  Gathered,
  Parts,
  patient,
  serverCredentials,
} from './transport-parts.ts';

let directory: TemporaryDirectory;
const parts = new Parts();

beforeAll(async () => {
  directory = temporaryDirectory('http2-throughput');
  await writeCertificates(directory.path);
});
afterEach(() => parts.close());
afterAll(() => directory.remove());

const get = { method: 'GET', path: '/x', headers: {} } as const;

describe('throughput', () => {
  it.each([
    ['cleartext', 1],
    ['cleartext', 2],
    ['TLS', 2],
  ] as const)(
    'of 4 MiB answers over %s, %i connections, is measured',
    async (kind, connections) => {
      const body = randomBytes(4 * MiB);
      const tls = kind === 'TLS' ? { tls: serverCredentials(directory.path) } : {};
      const credentials = kind === 'TLS' ? { credentials: clientCredentials(directory.path) } : {};
      const port = await parts.port((_, answer) => {
        answer.head(200, { 'content-length': String(body.length) });
        answer.send(body, () => answer.end());
      }, tls);
      const client = parts.client(port.address.port, {
        ...credentials,
        connections,
        windowBytes: 8 * MiB,
      });
      const place = Buffer.alloc(4 * MiB);
      const one = async (): Promise<void> => {
        const gathered = new Gathered();
        let at = 0;
        gathered.keeps = false;
        client.request(get, patient, {
          head: () => undefined,
          body: (chunk) => {
            place.set(chunk, at);
            at += chunk.length;
          },
          ended: () => gathered.ended(),
          failed: (error) => gathered.failed(error),
        });
        expect(await gathered.over).toBe('ended');
        expect(at).toBe(body.length);
      };
      await one();
      const count = 16;
      const begun = performance.now();
      const usage = process.cpuUsage();
      await Promise.all(
        Array.from({ length: connections }, async () => {
          for (let i = 0; i < count / connections; i += 1) await one();
        }),
      );
      const seconds = (performance.now() - begun) / 1000;
      const { user, system } = process.cpuUsage(usage);
      const mebibytes = (count * body.length) / MiB;
      console.log(
        `${kind}, ${connections} connections: ${(mebibytes / seconds).toFixed(0)} MiB/s, both ends in one thread, ${((user + system) / 1000 / mebibytes).toFixed(2)} ms of processor time a MiB`,
      );
      expect(place.equals(body) || connections > 1).toBe(true);
    },
  );
});
