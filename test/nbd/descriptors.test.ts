import net from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { NbdClient } from '../../src/nbd/client.ts';
import type { ListenAddress } from '../../src/platform/network.ts';
import { startMemoryTarget } from '../fuzz/fuzz-target.ts';
import { eventually } from '../support/nbd-server.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';

let directory: TemporaryDirectory;
beforeEach(() => {
  directory = temporaryDirectory('descriptors');
});
afterEach(() => directory.remove());

it('serving goes on when descriptors ran out and came back', async () => {
  // More connections than descriptors: accepting fails for the last of them. Some versions of Node.js open
  // as many files at once as there are modules, when it starts.
  const target = await startMemoryTarget(directory.path, { descriptorsMax: 120 });
  const [address] = target.addresses;
  if (address?.kind !== 'unix') throw new Error('a Unix socket comes first');
  const early = await NbdClient.connect(address, { exportName: target.quiet });
  const sockets = Array.from({ length: 180 }, () => net.connect(address.path));
  let closed = 0;
  for (const socket of sockets) {
    socket.on('error', () => undefined).on('close', () => (closed += 1));
    socket.resume();
  }
  await eventually('some are turned away', () => closed > 20);
  await early.write(0, Buffer.alloc(10_000, 9), { fua: true });
  expect(target.isRunning()).toBe(true);
  for (const socket of sockets) socket.destroy();
  await eventually('all are gone', () => closed === sockets.length);
  const late = await connectAgain(address, target.quiet);
  expect((await late.read(0, 10_000)).equals(Buffer.alloc(10_000, 9))).toBe(true);
  await late.close();
  await early.close();
  await target.stop();
});

/** The server notices a closed connection a moment later. */
async function connectAgain(address: ListenAddress, exportName: string): Promise<NbdClient> {
  for (let tries = 0; ; tries++) {
    try {
      return await NbdClient.connect(address, { exportName });
    } catch (error) {
      if (tries === 50) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
