import { ReceiveSlabPool } from '../../src/journal/receive-slab.ts';
import { NbdClient, type NbdClientOptions } from '../../src/nbd/client.ts';
import { ClientHandshake } from '../../src/nbd/client-handshake.ts';
import { NbdServer, type NbdServerOptions } from '../../src/nbd/server.ts';
import { nodeClock } from '../../src/platform/clock.ts';
import type { ListenAddress } from '../../src/platform/network.ts';
import { nodeNetwork } from '../../src/platform/node-network.ts';
import { memoryDirectory, MemoryExport, type MemoryExportSettings } from './memory-export.ts';

export interface ServedVolumes {
  readonly server: NbdServer;
  readonly address: ListenAddress;
  readonly slabs: ReceiveSlabPool;
  readonly volumes: readonly MemoryExport[];
  /** The first. */
  readonly volume: MemoryExport;
  readonly connect: (options?: NbdClientOptions) => Promise<NbdClient>;
  readonly handshake: () => Promise<ClientHandshake>;
  readonly stop: () => Promise<void>;
}

export interface ServeSettings extends NbdServerOptions {
  readonly slabsMax?: number;
  /** Each volume is in a group of its own. */
  readonly areGroups?: boolean;
  readonly listen?: ListenAddress;
}

/** A server on a free loopback port, with volumes in memory. */
export async function serveVolumes(
  settings: readonly MemoryExportSettings[] = [{}],
  options: ServeSettings = {},
): Promise<ServedVolumes> {
  const slabs = new ReceiveSlabPool(options.slabsMax ?? 64);
  const budget = options.areGroups ? undefined : slabs.budget();
  const volumes = settings.map((each) => new MemoryExport(budget ?? slabs.budget(), each));
  const server = new NbdServer(
    { network: nodeNetwork, clock: nodeClock, exports: memoryDirectory(volumes) },
    options,
  );
  const wanted = options.listen ?? { kind: 'tcp', host: '127.0.0.1', port: 0 };
  const [address] = await server.listen([wanted]);
  const [volume] = volumes;
  if (!address || !volume) throw new Error('nothing is served');
  return {
    server,
    address,
    slabs,
    volumes,
    volume,
    connect: (clientOptions) => NbdClient.connect(address, clientOptions),
    handshake: () => ClientHandshake.connect(address),
    stop: () => server.stop(1_000),
  };
}

/** Waits until `condition` holds; fails with `what` after a few seconds. */
export async function eventually(
  what: string,
  condition: () => boolean,
  milliseconds = 5_000,
): Promise<void> {
  const end = Date.now() + milliseconds;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
