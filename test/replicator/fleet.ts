import type { DaemonOptions } from '../../src/daemon/compose.ts';
import type { Group } from '../../src/group/order/group.ts';
import type { System } from '../../src/group/system/system.ts';
import type { GroupStatus } from '../../src/control/schema-status.ts';
import { must } from '../../src/platform/assert.ts';
import { MiB } from '../../src/platform/limits.ts';
import type { OwnLoad } from '../../src/platform/own-load.ts';
import { SimulatedClock } from '../simulation/simulated-clock.ts';
import { SimulatedDaemon } from '../simulation/simulated-daemon.ts';
import { SimulatedDisk, type SimulatedDiskOptions } from '../simulation/simulated-disk.ts';
import { SimulatedNetwork } from '../simulation/simulated-network.ts';
import type { SimulatedProcessDisk } from '../simulation/simulated-process-disk.ts';
import { SimulatedRandom } from '../simulation/simulated-random.ts';
import { SimulatedLinks } from '../simulation/simulated-links.ts';

/** Several systems in one world, each with a disk of its own, and links between them. */
export class Fleet {
  readonly clock = new SimulatedClock();
  readonly random: SimulatedRandom;
  readonly links: SimulatedLinks;
  readonly #options: Partial<SimulatedDiskOptions>;

  constructor(seed: number | string, options: Partial<SimulatedDiskOptions> = {}) {
    this.random = new SimulatedRandom(seed);
    this.links = new SimulatedLinks(this.clock, this.random, options.counter);
    this.#options = options;
  }

  /** A system on an empty disk, which nobody started. */
  add(host: string): FleetSystem {
    return new FleetSystem(this, host, this.#options);
  }

  async start(host: string): Promise<FleetSystem> {
    const system = this.add(host);
    await system.start();
    return system;
  }

  /** Alpha, with a group `g` and a volume `g/v`. */
  async startPrimary(sizeBytes: number, journalSize = 64 * MiB): Promise<FleetSystem> {
    const alpha = await this.start('alpha');
    await alpha.verb('group create', { group: 'g', journalSize });
    await alpha.verb('volume create', { volume: 'g/v', size: sizeBytes });
    return alpha;
  }

  async pass(milliseconds: number): Promise<void> {
    let isOver = false;
    this.clock.after(milliseconds, () => {
      isOver = true;
    });
    await this.clock.runUntil(() => isOver, milliseconds + 1000);
  }
}

/** One system of a fleet, which daemons live and die for. */
export class FleetSystem {
  readonly fleet: Fleet;
  readonly host: string;
  readonly machine: SimulatedDisk;
  /** How busy it is. */
  load: OwnLoad = { eventLoopDelayMilliseconds: 0, processorShare: 0 };
  readonly #network: SimulatedNetwork;
  readonly #random: SimulatedRandom;
  #daemon: SimulatedDaemon | undefined;
  #starts = 0;

  constructor(fleet: Fleet, host: string, options: Partial<SimulatedDiskOptions>) {
    this.fleet = fleet;
    this.host = host;
    this.#random = fleet.random.fork(host);
    this.machine = new SimulatedDisk({ clock: fleet.clock, random: this.#random, ...options });
    this.#network = new SimulatedNetwork(fleet.clock, this.#random);
  }

  get url(): string {
    return `http://${this.host}:10810`;
  }
  get daemon(): SimulatedDaemon {
    return must(this.#daemon, `${this.host} runs`);
  }
  get system(): System {
    return this.daemon.composed.system;
  }
  get disk(): SimulatedProcessDisk {
    return this.daemon.disk;
  }

  group(name = 'g'): Group {
    return this.system.group(name);
  }

  async start(settings: Partial<DaemonOptions> = {}): Promise<void> {
    await this.run(this.begin(settings).starting);
  }

  /** A life that may not come to serve. */
  begin(settings: Partial<DaemonOptions> = {}): SimulatedDaemon {
    const { clock, links } = this.fleet;
    this.#starts += 1;
    const random = this.#random.fork(`start ${this.#starts}`);
    const load = (): OwnLoad => this.load;
    const network = this.#network;
    const world = { clock, machine: this.machine, network, links, host: this.host, load };
    this.#daemon = new SimulatedDaemon(world, random, '/data', this.host, settings);
    return this.#daemon;
  }

  async stop(): Promise<void> {
    await this.run(this.daemon.composed.stop(1000));
    this.daemon.kill();
  }

  kill(): void {
    this.daemon.kill();
  }

  losePower(): void {
    this.machine.powerLost();
  }

  /** Carries out a verb, as its parameters are written. */
  verb(name: string, input: object): Promise<unknown> {
    const path = `/verbs/${name.replaceAll(' ', '-')}`;
    const call = { signal: new AbortController().signal, progress: () => undefined };
    return this.run(this.daemon.composed.control.change(path, input, call));
  }

  status(name = 'g'): GroupStatus {
    const { groups } = this.daemon.composed.control.status();
    return must(
      groups.find((group) => group.name === name),
      `${this.host} has group ${name}`,
    );
  }

  run<T>(promise: Promise<T>, milliseconds = 120_000): Promise<T> {
    return this.fleet.clock.run(promise, milliseconds);
  }

  async until(isDone: () => boolean, milliseconds = 120_000): Promise<void> {
    await this.fleet.clock.runUntil(isDone, milliseconds);
  }

  /** Everything that `source` has is here, and applied. */
  async caughtUp(source: FleetSystem, name = 'g'): Promise<void> {
    await this.until(() => {
      const { newest } = source.group(name).watermarks;
      // Not there while its journal begins anew.
      const group = this.system.groups.get(name);
      if (!group) return false;
      const { state } = group.follow;
      const isWhole = (state?.copies.length ?? 0) === 0 && !state?.resync;
      return isWhole && group.watermarks.applied === newest;
    });
  }
}
