import net from 'node:net';
import type { Group } from '../../src/group/order/group.ts';
import { SystemExports } from '../../src/group/system/exports.ts';
import { System } from '../../src/group/system/system.ts';
import { createVolume } from '../../src/group/volumes/volume-changes.ts';
import type { Volume } from '../../src/group/apply/volume.ts';
import { NbdServer, type NbdServerOptions } from '../../src/nbd/server.ts';
import { must } from '../../src/platform/assert.ts';
import { nodeClock } from '../../src/platform/clock.ts';
import { MiB } from '../../src/platform/limits.ts';
import type { ListenAddress } from '../../src/platform/network.ts';
import { NodeDisk } from '../../src/platform/node-disk.ts';
import { nodeNetwork } from '../../src/platform/node-network.ts';
import { spawnNodeWorker } from '../../src/platform/node-worker.ts';
import { nodeRandom } from '../../src/platform/random.ts';
import type { FromApply, ToApply } from '../../src/volume/apply-messages.ts';
import { eventually } from '../support/nbd-server.ts';

export interface ServedSystem {
  readonly system: System;
  readonly group: Group;
  readonly volume: Volume;
  readonly server: NbdServer;
  readonly address: ListenAddress;
  /** Until all that was written is in the backing file, and synced: then its pages can be dropped. */
  applyAll(): Promise<void>;
  stop(): Promise<void>;
}

/** A system on real files with one volume, behind a real socket. */
export async function serveSystem(
  directory: string,
  sizeBytes: number,
  listen: ListenAddress = { kind: 'tcp', host: '127.0.0.1', port: 0 },
  options: NbdServerOptions = {},
): Promise<ServedSystem> {
  const disk = new NodeDisk();
  const failed = (error: Error): never => {
    throw error;
  };
  const system = await System.open(
    {
      disk,
      clock: nodeClock,
      random: nodeRandom,
      startApply: (applyFailed) =>
        spawnNodeWorker<ToApply, FromApply>(
          new URL('../../src/volume/apply-thread.ts', import.meta.url),
          'apply',
          applyFailed,
        ),
      event: () => undefined,
      fatal: failed,
    },
    directory,
    { name: 'a', memoryBytes: 192 * MiB },
  );
  const { group } = await system.createGroup('g', { journalCapacityBytes: 256 * MiB });
  const { volume } = await createVolume(disk, group, system.filesOf(group), 'v', {
    sizeBytes,
    journalOnly: false,
  });
  const exports = new SystemExports(system, disk);
  const server = new NbdServer({ network: nodeNetwork, clock: nodeClock, exports }, options);
  const [address] = await server.listen([listen]);
  return {
    system,
    group,
    volume,
    server,
    address: must(address, 'an address'),
    applyAll: () =>
      eventually(
        'everything is applied',
        () => {
          group.hurryApply();
          return group.index.isEmpty;
        },
        20_000,
      ).then(() => must(volume.file, 'a file').dataSyncSync()),
    stop: async () => {
      await server.stop(500);
      await system.close();
    },
  };
}

export interface SlowPath {
  readonly address: ListenAddress;
  /** Nothing that the server sends is taken while this is set. */
  isHeld: boolean;
  close(): void;
}

/** A way to `to` that takes what the server sends in small parts, with pauses between them. */
export async function slowPath(to: ListenAddress): Promise<SlowPath> {
  const target = to.kind === 'tcp' ? { host: to.host, port: to.port } : { path: to.path };
  const sockets = new Set<net.Socket>();
  const gate = net.createServer((client) => {
    const server = net.connect(target);
    client.pipe(server);
    server.on('data', (chunk) => {
      client.write(chunk);
      server.pause();
      const goOn = (): void => {
        if (path.isHeld) setTimeout(goOn, 5);
        else server.resume();
      };
      if (Math.random() < 0.05 || path.isHeld) setTimeout(goOn, 2);
      else setImmediate(goOn);
    });
    for (const socket of [client, server]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
    }
    server.on('close', () => client.end());
    client.on('close', () => server.destroy());
  });
  await new Promise<void>((resolve) => gate.listen(0, '127.0.0.1', resolve));
  const bound = gate.address();
  if (typeof bound !== 'object' || bound === null) throw new Error('not bound');
  const path: SlowPath = {
    address: { kind: 'tcp', host: '127.0.0.1', port: bound.port },
    isHeld: false,
    close: () => {
      for (const socket of sockets) socket.destroy();
      gate.close();
    },
  };
  return path;
}
