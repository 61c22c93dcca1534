import type { Group } from '../../src/group/order/group.ts';
import type { GroupDependencies } from '../../src/group/order/group-dependencies.ts';
import type { GroupSettings } from '../../src/group/catalog/new-group.ts';
import { System } from '../../src/group/system/system.ts';
import { createVolume } from '../../src/group/volumes/volume-changes.ts';
import type { Volume } from '../../src/group/apply/volume.ts';
import { MiB } from '../../src/platform/limits.ts';
import type { FromApply, ToApply } from '../../src/volume/apply-messages.ts';
import { ApplyWorker } from '../../src/volume/apply.ts';
import { ProcessClock, SimulatedClock } from '../simulation/simulated-clock.ts';
import { SimulatedDisk, type SimulatedDiskOptions } from '../simulation/simulated-disk.ts';
import type { SimulatedProcessDisk } from '../simulation/simulated-process-disk.ts';
import { SimulatedRandom } from '../simulation/simulated-random.ts';
import { spawnSimulatedWorker } from '../simulation/simulated-worker.ts';

/** One machine with a disk that outlives its daemons: the real engine, started and killed at will. */
export class SimulatedMachine {
  readonly clock = new SimulatedClock();
  readonly random: SimulatedRandom;
  readonly machine: SimulatedDisk;
  readonly events: {
    readonly code: string;
    readonly message: string;
    readonly fields: Readonly<Record<string, unknown>>;
  }[] = [];
  #disk: SimulatedProcessDisk | undefined;
  #processClock: ProcessClock | undefined;
  #system: System | undefined;
  directory = '/data';
  #starts = 0;

  constructor(seed: number | string, options: Partial<SimulatedDiskOptions> = {}) {
    this.random = new SimulatedRandom(seed);
    this.machine = new SimulatedDisk({ clock: this.clock, random: this.random, ...options });
  }

  get system(): System {
    if (!this.#system) throw new Error('no daemon runs');
    return this.#system;
  }

  get disk(): SimulatedProcessDisk {
    this.#disk ??= this.machine.attach(() => this.#processClock?.kill());
    return this.#disk;
  }

  group(name = 'g'): Group {
    return this.system.group(name);
  }

  /** Starts a daemon on the data directory, as `serve` does. */
  async start(memoryBytes = 64 * MiB): Promise<System> {
    const clock = new ProcessClock(this.clock);
    this.#processClock = clock;
    this.#disk = this.machine.attach(() => clock.kill());
    const random = this.random.fork(`start ${this.#starts}`);
    this.#starts += 1;
    const disk = this.#disk;
    const deps: Omit<GroupDependencies, 'pool' | 'systemId'> = {
      disk,
      clock,
      random,
      startApply: () =>
        spawnSimulatedWorker<ToApply, FromApply>(
          clock,
          random.fork('worker'),
          (port) => new ApplyWorker(disk, port),
        ),
      event: (code, message, fields) => this.events.push({ code, message, fields }),
      fatal: (error) => {
        throw error;
      },
    };
    const checksumPointMilliseconds = Number.POSITIVE_INFINITY;
    const options = { name: 'test', memoryBytes, checksumPointMilliseconds };
    this.#system = await this.run(System.open(deps, this.directory, options));
    return this.#system;
  }

  async createGroup(settings: GroupSettings = {}, name = 'g'): Promise<Group> {
    const all = { journalCapacityBytes: 64 * MiB, ...settings };
    return (await this.run(this.system.createGroup(name, all))).group;
  }

  async createVolume(
    name: string,
    sizeBytes: number,
    journalOnly = false,
    groupName = 'g',
  ): Promise<Volume> {
    const group = this.group(groupName);
    const settings = { sizeBytes, journalOnly };
    const files = this.system.filesOf(group);
    const { volume } = await this.run(createVolume(this.disk, group, files, name, settings));
    return volume;
  }

  /** Lets time pass until the promise is settled. */
  run<T>(promise: Promise<T>, milliseconds = 120_000): Promise<T> {
    return this.clock.run(promise, milliseconds);
  }

  /** Lets that much time pass. */
  async pass(milliseconds: number): Promise<void> {
    let isOver = false;
    this.clock.after(milliseconds, () => {
      isOver = true;
    });
    await this.clock.runUntil(() => isOver, milliseconds + 1000);
  }

  async until(isDone: () => boolean, milliseconds = 120_000): Promise<void> {
    await this.clock.runUntil(isDone, milliseconds);
  }

  /** Ends the daemon in order. */
  async stop(): Promise<void> {
    await this.run(this.system.close());
    this.#gone();
    this.machine.processCrash();
  }

  /** SIGKILL: what was written stays. */
  kill(): void {
    this.machine.processCrash();
    this.#gone();
  }

  /** Of what was not synced, chance decides. */
  losePower(): void {
    this.machine.powerLost();
    this.#gone();
  }

  #gone(): void {
    this.#processClock?.kill();
    this.#system = undefined;
    this.#disk = undefined;
  }
}
