import {
  type ComposedDaemon,
  composeDaemon,
  type DaemonOptions,
  type Observers,
  type World,
} from '../../src/daemon/compose.ts';
import { MiB } from '../../src/platform/limits.ts';
import type { OwnLoad } from '../../src/platform/own-load.ts';
import type { FromSource, ToSource } from '../../src/replicator/source/source-messages.ts';
import { SourceWorker } from '../../src/replicator/source/source-worker.ts';
import { jsonAnswer } from '../../src/replicator/protocol/wire-json.ts';
import type { FromApply, ToApply } from '../../src/volume/apply-messages.ts';
import { ApplyWorker } from '../../src/volume/apply.ts';
import { ProcessClock, type SimulatedClock } from './simulated-clock.ts';
import type { SimulatedDisk } from './simulated-disk.ts';
import type { SimulatedNetwork } from './simulated-network.ts';
import type { SimulatedProcessDisk } from './simulated-process-disk.ts';
import type { SimulatedRandom } from './simulated-random.ts';
import { SimulatedLinks } from './simulated-links.ts';
import { SimulatedTransport } from './simulated-transport.ts';
import { spawnSimulatedWorker } from './simulated-worker.ts';

export const dataDirectory = '/data';
export const nbdAddress = { kind: 'tcp', host: '127.0.0.1', port: 10809 } as const;

/** The world that daemons live and die in. */
export interface SimulatedWorld {
  readonly clock: SimulatedClock;
  readonly machine: SimulatedDisk;
  readonly network: SimulatedNetwork;
  /** To other systems; alone in the world where there are none. */
  readonly links?: SimulatedLinks;
  /** By which other systems know this one. */
  readonly host?: string;
  /** How busy the machine is; by default not at all. */
  readonly load?: () => OwnLoad;
}

export interface DaemonEvent {
  readonly code: string;
  readonly message: string;
}

/** One life of the daemon: what `serve` starts, on a simulated disk, clock, network, chance and thread. */
export class SimulatedDaemon {
  readonly events: DaemonEvent[] = [];
  readonly disk: SimulatedProcessDisk;
  /** All that is not as in a real daemon. */
  readonly world: World;
  /** Resolves when it serves. */
  readonly starting: Promise<void>;
  #composed: ComposedDaemon | undefined;
  #isDead = false;
  readonly #kill: () => void;

  constructor(
    world: SimulatedWorld,
    random: SimulatedRandom,
    directory: string = dataDirectory,
    name?: string,
    settings: Partial<DaemonOptions> = {},
  ) {
    const clock = new ProcessClock(world.clock);
    const network = world.network.attach(clock);
    const host = world.host ?? '127.0.0.1';
    const links = world.links ?? new SimulatedLinks(world.clock, random);
    const transport = new SimulatedTransport(links, host, clock);
    this.#kill = () => {
      if (this.#isDead) return;
      this.#isDead = true;
      clock.kill();
      network.kill();
      transport.kill();
    };
    this.disk = world.machine.attach(this.#kill);
    const { disk } = this;
    this.world = {
      disk,
      clock,
      network,
      random,
      startApply: () =>
        spawnSimulatedWorker<ToApply, FromApply>(
          clock,
          random.fork('worker'),
          (port) => new ApplyWorker(disk, port),
        ),
      transport,
      startSource: () =>
        spawnSimulatedWorker<ToSource, FromSource>(
          clock,
          random.fork('source'),
          (port) => new SourceWorker({ disk, clock, transport }, port),
        ),
    };
    const observers: Observers = {
      event: (code, message) => this.events.push({ code, message }),
      ...others,
      ...(world.load ? { load: { read: world.load, close: () => undefined } } : {}),
    };
    const opening = composeDaemon(this.world, observers, {
      ...options,
      ...settings,
      name,
      dataDirectory: directory,
      listen: { address: { kind: 'tcp', host, port: 10810 }, cleartext: 'anywhere' },
    });
    this.starting = opening.then((composed) => {
      this.#composed = composed;
    });
    // Whoever waits for it learns of a failure; after a death nobody does.
    this.starting.catch(() => undefined);
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  get isServing(): boolean {
    return !this.#isDead && this.#composed !== undefined;
  }

  get composed(): ComposedDaemon {
    if (!this.#composed) throw new Error('the daemon does not serve yet');
    return this.#composed;
  }

  /** SIGKILL. */
  kill(): void {
    if (!this.#isDead) this.disk.machine.processCrash(this.disk);
  }

  /** The process ended by itself. */
  exited(): void {
    this.disk.kill();
  }
}

const options: Omit<DaemonOptions, 'dataDirectory' | 'listen'> = {
  name: undefined,
  version: '0.0.0',
  memoryBytes: 64 * MiB,
  // Numbers are those of what was asked for; where points are wanted they are asked for, too.
  checksumPointMilliseconds: Number.POSITIVE_INFINITY,
  nbdAddresses: [nbdAddress],
  nbd: {},
  answerOthers: () => Promise.resolve(jsonAnswer(404, {})),
};

const others: Omit<Observers, 'event'> = {
  load: {
    read: () => ({ eventLoopDelayMilliseconds: 0, processorShare: 0 }),
    close: () => undefined,
  },
  watch: {
    residentBytes: () => 0,
    takeEventLoopDelay: () => ({
      maxSeconds: 0,
      quantiles: new Map(),
      sumSeconds: 0,
      count: 0,
    }),
    close: () => undefined,
  },
  fatal: (error) => {
    throw error;
  },
};
