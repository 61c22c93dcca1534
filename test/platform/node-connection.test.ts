import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { KiB, MiB } from '../../src/platform/limits.ts';
import type { Connection, ListenAddress } from '../../src/platform/network.ts';
import { nodeNetwork } from '../../src/platform/node-network.ts';
import { areEqual, directory, open, pattern, useRealFiles } from './real-files.ts';

useRealFiles();

interface Ends {
  readonly connection: Connection;
  /** The other side, which reads nothing until it is resumed. */
  readonly client: net.Socket;
  /** Runs once when all that was sent has left. */
  whenDrained: (() => void) | undefined;
}

async function connected(listen: ListenAddress): Promise<Ends> {
  let accepted: (connection: Connection) => void = () => undefined;
  const accepting = new Promise<Connection>((resolve) => {
    accepted = resolve;
  });
  const listener = await nodeNetwork.listen(listen, (connection) => accepted(connection));
  const { address } = listener;
  const client = address.kind === 'tcp' ? net.connect(address.port) : net.connect(address.path);
  client.on('error', () => undefined);
  client.pause();
  const connection = await accepting;
  const ends: Ends = { connection, client, whenDrained: undefined };
  const room = new Uint8Array(4096);
  connection.start({
    receiveBuffer: () => room,
    received: () => undefined,
    ended: () => undefined,
    drained: () => {
      const { whenDrained } = ends;
      ends.whenDrained = undefined;
      whenDrained?.();
    },
    secured: () => undefined,
    closed: () => undefined,
  });
  onTestFinished(() => {
    client.destroy();
    connection.destroy();
    listener.close();
  });
  return ends;
}

function takeAll(client: net.Socket, chunks: Buffer[] = []): Promise<Buffer> {
  client.on('data', (chunk) => chunks.push(chunk));
  return new Promise((resolve) => client.once('end', () => resolve(Buffer.concat(chunks))));
}

/** Takes a part of what lies in the socket behind the event loop's back. */
function takeNow(client: net.Socket, chunks: Buffer[]): void {
  const handle = Reflect.get(client, '_handle') as { readonly fd: number };
  for (let round = 0; round < 32; round += 1) {
    const bytes = Buffer.alloc(64 * KiB);
    try {
      chunks.push(bytes.subarray(0, fs.readSync(handle.fd, bytes)));
    } catch {
      return; // There is nothing more.
    }
  }
}

const anyPort: ListenAddress = { kind: 'tcp', host: '127.0.0.1', port: 0 };

test.each<ListenAddress>([anyPort, { kind: 'unix', path: path.join(directory, 'socket') }])(
  'a file goes out behind what comes before it, and in order with what is sent: $kind',
  async (listen) => {
    const ends = await connected(listen);
    const { connection, client } = ends;
    if (!connection.sendsFiles) return;
    const file = open();
    const bytes = pattern(24 * MiB);
    file.writeSync(bytes, 0, bytes.length, 0);
    const head = pattern(100, 7);
    const chunks: Buffer[] = [];
    const received = takeAll(client, chunks);
    const first = connection.sendFile(head, 10, 40, file.descriptor, 5, bytes.length - 5);
    expect(first).toBeGreaterThan(30);
    expect(first).toBeLessThan(bytes.length);
    let at = 5 + first - 30;
    let turns = 0;
    let overtaking = 0;
    while (at < bytes.length) {
      turns += 1;
      const copied = Math.min(100_000, bytes.length - at);
      if (connection.send(bytes.subarray(at, at + copied)) > 0) {
        // Even where the socket has room again: what is still to leave must not be overtaken.
        client.pause();
        takeNow(client, chunks);
        overtaking += connection.sendFile(head, 0, 8, file.descriptor, 0, 4096);
        const drained = new Promise<void>((resolve) => {
          ends.whenDrained = resolve;
        });
        client.resume();
        await drained;
      }
      at += copied;
      at += connection.sendFile(head, 3, 3, file.descriptor, at, bytes.length - at);
    }
    expect(turns).toBeGreaterThan(0);
    expect(overtaking).toBe(0);
    connection.end();
    expect(connection.sendFile(head, 0, 8, file.descriptor, 0, 4096)).toBe(0);
    client.resume();
    const all = await received;
    expect(areEqual(all.subarray(0, 30), head.subarray(10, 40))).toBe(true);
    expect(areEqual(all.subarray(30), bytes.subarray(5))).toBe(true);
  },
);

test('a file that cannot be sent is not tried again, and what stood before it is out', async () => {
  const { connection, client } = await connected(anyPort);
  if (!connection.sendsFiles) return;
  const received = takeAll(client);
  client.resume();
  const file = open();
  file.closeSync();
  const head = pattern(50);
  expect(connection.sendFile(head, 0, 20, file.descriptor, 0, 4096)).toBe(0);
  expect(connection.sendsFiles).toBe(true);
  expect(connection.sendFile(head, 0, 20, 2 ** 30, 0, 4096)).toBe(20);
  expect(connection.sendsFiles).toBe(false);
  expect(connection.sendFile(head, 20, 50, open().descriptor, 0, 4096)).toBe(0);
  expect(connection.send(head.subarray(20))).toBe(0);
  connection.end();
  expect(areEqual(await received, head)).toBe(true);
});

test('a connection that is gone takes nothing', async () => {
  const { connection, client } = await connected(anyPort);
  const file = open();
  file.writeSync(pattern(4096), 0, 4096, 0);
  client.destroy();
  connection.destroy();
  expect(connection.sendFile(pattern(8), 0, 8, file.descriptor, 0, 4096)).toBe(0);
});
