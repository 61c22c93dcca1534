import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../support/children.ts';
import { writeCertificates, writePreSharedKey } from '../support/certificates.ts';
import { tellsReserved } from '../support/reserved-space.ts';
import { startSubject, type Subject } from '../support/subject.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';
import { program } from '../support/tools.ts';

const script = fileURLToPath(new URL('libnbd.py', import.meta.url));
const python = program('python3');
const hasLibnbd = python !== undefined && existsSync('/usr/lib/python3/dist-packages/nbd.py');
/** Of the file system that the volumes of these tests are on. */
const isReservedTold = tellsReserved(tmpdir());
if (!hasLibnbd) console.warn('libnbd tests skipped: missing python3-libnbd');

const cases = [
  'handshake',
  'facts',
  'old_handshakes',
  'read_write',
  'large',
  'zero_and_trim',
  'structured_reads',
  'block_status',
  'cache_and_flush',
  'errors',
  'simple_replies',
  'connections',
  'pipelined',
  'model',
];
const volumeBytes = 128 * 1024 * 1024;

async function runCase(name: string, uri: string): Promise<void> {
  const environment = { TELLS_RESERVED: isReservedTold ? '1' : '0' };
  const result = await run(python ?? '', [script, name, uri], { timeoutSeconds: 60, environment });
  expect(result.code, `${name} on ${uri}\n${result.stdout}${result.stderr}`).toBe(0);
}

interface Transport {
  readonly name: string;
  readonly start: (directory: string) => Promise<{ subject: Subject; uri: string }>;
  /** URIs that must not be let in. */
  readonly denied?: (directory: string, port: number) => Promise<string[]>;
}

const transports: Transport[] = [
  {
    name: 'TCP',
    async start(directory) {
      const subject = await startSubject({ directory, volumes: { volume: volumeBytes } });
      return { subject, uri: subject.uri('volume') };
    },
  },
  {
    name: 'a Unix socket',
    async start(directory) {
      const socket = join(directory, 'socket');
      const subject = await startSubject({ directory, volumes: { volume: volumeBytes }, socket });
      return { subject, uri: `nbd+unix:///volume?socket=${socket}` };
    },
  },
  {
    name: 'TLS with certificates',
    async start(directory) {
      const certificates = join(directory, 'certificates');
      await writeCertificates(certificates);
      const subject = await startSubject({
        directory,
        volumes: { volume: volumeBytes },
        certificates,
      });
      const uri = `nbds://localhost:${subject.port}/volume?tls-certificates=${certificates}`;
      return { subject, uri };
    },
    async denied(directory, port) {
      const stranger = join(directory, 'stranger');
      await writeCertificates(stranger);
      return [
        `nbd://localhost:${port}/volume`,
        // A client of another authority that does not look at whose certificate the server has.
        `nbds://localhost:${port}/volume?tls-certificates=${stranger}&tls-verify-peer=false`,
      ];
    },
  },
  {
    name: 'TLS with a pre-shared key',
    async start(directory) {
      const preSharedKeys = join(directory, 'keys.psk');
      writePreSharedKey(preSharedKeys, 'host');
      const subject = await startSubject({
        directory,
        volumes: { volume: volumeBytes },
        preSharedKeys,
      });
      const uri = `nbds://host@localhost:${subject.port}/volume?tls-psk-file=${preSharedKeys}`;
      return { subject, uri };
    },
    denied(directory, port) {
      const other = join(directory, 'other.psk');
      writePreSharedKey(other, 'host');
      const unknown = join(directory, 'unknown.psk');
      writePreSharedKey(unknown, 'somebody');
      return Promise.resolve([
        `nbd://localhost:${port}/volume`,
        `nbds://host@localhost:${port}/volume?tls-psk-file=${other}`,
        `nbds://somebody@localhost:${port}/volume?tls-psk-file=${unknown}`,
      ]);
    },
  },
];

for (const transport of transports) {
  describe.skipIf(!hasLibnbd)(`libnbd over ${transport.name}`, () => {
    let directory: TemporaryDirectory | undefined;
    let started: { subject: Subject; uri: string };

    beforeAll(async () => {
      directory = temporaryDirectory('libnbd');
      started = await transport.start(directory.path);
    });

    afterAll(async () => {
      await started.subject.kill();
      directory?.remove();
    });

    it.each(cases)('%s', async (name) => {
      await runCase(name, started.uri);
    });

    it.each(transport.denied ? [transport.denied] : [])(
      'lets nobody else in, and serves on',
      async (denied) => {
        const uris = await denied(directory?.path ?? '', started.subject.port);
        for (const uri of uris) await runCase('denied', uri);
        await runCase('read_write', started.uri);
      },
    );
  });
}
