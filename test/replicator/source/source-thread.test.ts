import { afterEach, expect, test } from 'vitest';
import type { ExportClient, ExportSession } from '../../../src/group/apply/export.ts';
import { SystemExports } from '../../../src/group/system/exports.ts';
import { System } from '../../../src/group/system/system.ts';
import { createVolume } from '../../../src/group/volumes/volume-changes.ts';
import { checksumHolds, decodeHeader, emptyRecordHeader } from '../../../src/journal/record.ts';
import { must } from '../../../src/platform/assert.ts';
import { nodeClock } from '../../../src/platform/clock.ts';
import { KiB, MiB, slabHeadroomBytes } from '../../../src/platform/limits.ts';
import { NodeDisk } from '../../../src/platform/node-disk.ts';
import { spawnNodeWorker } from '../../../src/platform/node-worker.ts';
import { nodeRandom } from '../../../src/platform/random.ts';
import { FrameDecoder } from '../../../src/replicator/protocol/frame-decoder.ts';
import { Http2Client } from '../../../src/replicator/transport/http2-client.ts';
import type { FromSource, ToSource } from '../../../src/replicator/source/source-messages.ts';
import { Source } from '../../../src/replicator/source/source.ts';
import {
  decodeJournalAnswer,
  encodeCaller,
  encodeJournalRead,
  paths,
  type Position,
} from '../../../src/replicator/protocol/wire.ts';
import type { FromApply, ToApply } from '../../../src/volume/apply-messages.ts';
import { temporaryDirectory } from '../../support/temporary.ts';
import { Collector } from '../protocol/frame-collector.ts';
import { Gathered, patient } from '../transport/transport-parts.ts';

const closers: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function fatal(error: Error): never {
  throw error;
}

const client: ExportClient = {
  peer: '127.0.0.1:1',
  admitted: () => undefined,
  durableReached: () => undefined,
  durableFailed: () => undefined,
  readCompleted: () => undefined,
  revoke: () => undefined,
};

async function openSystem(): Promise<{ system: System; source: Source; port: number }> {
  const directory = temporaryDirectory('source');
  closers.push(() => directory.remove());
  const disk = new NodeDisk();
  const deps = {
    disk,
    clock: nodeClock,
    random: nodeRandom,
    startApply: (failed: (error: Error) => void) =>
      spawnNodeWorker<ToApply, FromApply>(
        new URL('../../../src/volume/apply-thread.ts', import.meta.url),
        'apply',
        failed,
      ),
    event: () => undefined,
    fatal,
  };
  const options = { name: 'source', memoryBytes: 64 * MiB };
  const system = await System.open(deps, directory.path, options);
  closers.push(() => system.close());
  const source = new Source({
    systemId: system.systemId,
    clock: nodeClock,
    port: spawnNodeWorker<ToSource, FromSource>(
      new URL('../../../src/replicator/source/source-thread.ts', import.meta.url),
      'source',
      fatal,
    ),
    answer: ({ path }) =>
      Promise.resolve({ status: 200, headers: {}, body: Buffer.from(`main thread: ${path}`) }),
    refused: () => undefined,
  });
  closers.push(() => source.close(1000));
  const address = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const;
  const { port } = await source.listen({ address, cleartext: 'loopback' });
  return { system, source, port };
}

async function write(session: ExportSession, offset: number, bytes: Uint8Array): Promise<void> {
  const later = () => new Promise((go) => setTimeout(go, 1));
  // A slab comes back when what is in it is durable: on a busy disk that takes its time.
  let slab = session.slabs.take();
  while (!slab) {
    await later();
    slab = session.slabs.take();
  }
  while (!session.admit(bytes.length + 64)) await later();
  slab.bytes.set(bytes, slabHeadroomBytes + 28);
  expect(session.stampWrite(slab, slabHeadroomBytes, 28, offset, bytes.length)).toBeGreaterThan(0);
  expect(session.commitRun()).toBe(0);
  session.retire(slab);
}

test('a follower reads over HTTP/2 what hosts write, from a thread of its own', async () => {
  const { system, source, port } = await openSystem();
  const { group } = await system.createGroup('g', { journalCapacityBytes: 128 * MiB });
  const files = system.filesOf(group);
  const settings = { sizeBytes: 16 * MiB, journalOnly: false };
  await createVolume(new NodeDisk(), group, files, 'v', settings);
  group.followers.register(7, 'reader', 0);
  source.add(group);
  const session = must(new SystemExports(system, new NodeDisk()).find('g/v'), 'v').open(client);
  const written = Buffer.alloc(settings.sizeBytes);
  const writing = (async () => {
    for (let i = 0; i < 400; i += 1) {
      const bytes = Buffer.alloc(100 * KiB, i);
      const offset = (i * 7919 * 512) % (settings.sizeBytes - bytes.length);
      const aligned = offset - (offset % 512);
      written.set(bytes, aligned);
      await write(session, aligned, bytes);
      if (i % 16 === 0) await new Promise((go) => setTimeout(go, 1));
    }
    session.requestDurable(session.newest);
  })();
  const link = new Http2Client({
    url: `http://127.0.0.1:${port}`,
    connections: 1,
    windowBytes: 4 * MiB,
  });
  closers.push(() => link.close());
  const image = Buffer.alloc(settings.sizeBytes);
  const header = emptyRecordHeader();
  let position: Position = { generation: 0, incarnation: 0, number: 0 };
  const last = 401;
  while (position.number < last) {
    const { number } = position;
    const answer = new Gathered();
    link.request(
      {
        method: 'GET',
        path: paths.journal(group.catalog.groupId),
        headers: {
          ...encodeCaller({ systemId: 7, name: 'reader' }),
          ...encodeJournalRead({
            position,
            received: number,
            applied: 0,
            batchBytes: 1 * MiB,
            waitMilliseconds: 5000,
            isRetry: false,
            copied: [],
            ranges: [],
            members: [],
          }),
        },
      },
      patient,
      answer,
    );
    expect(await answer.over).toBe('ended');
    expect(answer.status).toBe(200);
    const head = decodeJournalAnswer(answer.headers);
    const collector = new Collector();
    const decoder = new FrameDecoder(collector);
    decoder.decode(answer.content);
    expect(decoder.isWhole).toBe(true);
    let next = number + 1;
    for (const frame of collector.frames) {
      if (frame.kind !== 'records') continue;
      const bytes = Buffer.from(frame.content);
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      for (let at = 0; at < bytes.length; at += header.headerBytes + header.payloadBytes) {
        decodeHeader(view, at, bytes.length, header);
        const isWhole = checksumHolds(bytes, view, at, header, frame.header.salt);
        if (!isWhole || (header.type < 0x80 && header.number !== next)) fatal(new Error('order'));
        if (header.type < 0x80) next += 1;
        const payloadAt = at + header.headerBytes;
        if (header.type === 1) {
          image.set(bytes.subarray(payloadAt, payloadAt + header.payloadBytes), header.offset);
        }
      }
    }
    expect(next).toBe(head.through.number + 1);
    position = head.through;
  }
  await writing;
  expect(image.equals(written)).toBe(true);
  const status = new Gathered();
  link.request({ method: 'GET', path: '/healthz', headers: {} }, patient, status);
  expect(await status.over).toBe('ended');
  expect(status.content.toString()).toBe('main thread: /healthz');
  expect(group.followers.find(7)?.received).toBeGreaterThan(0);
});
