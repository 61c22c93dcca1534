import type { Group } from '../../src/group/order/group.ts';
import { JnbdError } from '../../src/platform/errors.ts';
import { checkpointOnDevice } from './checkpoint-on-device.ts';
import type { CrashKind } from './crash-kind.ts';
import { describeGroups } from './describe-groups.ts';
import { Excuses } from './excuses.ts';
import { codeKinds } from './expected-codes.ts';
import type { FaultCounter } from './faults.ts';
import type { GroupModel } from './group-model.ts';
import { HostCrew } from './host-crew.ts';
import { JournalTap } from './journal-tap.ts';
import { RestartCheck } from './restart-check.ts';
import { settlePromises } from './settled-promises.ts';
import { SimulatedClock } from './simulated-clock.ts';
import { SimulatedDaemon } from './simulated-daemon.ts';
import { SimulatedDisk } from './simulated-disk.ts';
import { SimulatedNetwork } from './simulated-network.ts';
import { SimulatedRandom } from './simulated-random.ts';
import { TransitionWatch } from './transitions.ts';
import { fillNoise } from './work-host.ts';

/** What was promised did not hold. */
export class SimulationFailed extends Error {}

export type Outcome = 'done' | 'dead' | 'late';

const hangMilliseconds = 300_000;

export interface SimulationOptions {
  readonly capacityBytes?: number;
  readonly cacheMissChance?: number;
  readonly verbose?: boolean;
}

/**
 * One machine, its daemon, life after life, its hosts and what they are promised. Everything that
 * happens comes from the seed.
 */
export class JournalSimulation {
  readonly random: SimulatedRandom;
  readonly counter: FaultCounter;
  readonly clock = new SimulatedClock();
  readonly machine: SimulatedDisk;
  readonly network: SimulatedNetwork;
  readonly tap: JournalTap;
  readonly excuses = new Excuses();
  readonly hosts: HostCrew;
  readonly restarts: RestartCheck;
  readonly #transitions: TransitionWatch;
  readonly #violations: string[] = [];
  readonly #isVerbose: boolean;
  readonly #log: string[] = [];
  #daemon: SimulatedDaemon | undefined;
  #starts = 0;

  constructor(seed: number | string, counter: FaultCounter, options: SimulationOptions = {}) {
    this.random = new SimulatedRandom(`journal ${seed}`);
    this.counter = counter;
    this.#isVerbose = options.verbose ?? false;
    this.machine = new SimulatedDisk({
      clock: this.clock,
      random: this.random,
      counter,
      ...(options.capacityBytes === undefined ? {} : { capacityBytes: options.capacityBytes }),
      ...(options.cacheMissChance === undefined
        ? {}
        : { cacheMissChance: options.cacheMissChance }),
    });
    this.network = new SimulatedNetwork(this.clock, this.random);
    const report = (text: string): void => this.report(text);
    const note = (text: string): void => this.note(text);
    this.tap = new JournalTap(
      {
        batch: (group) => this.#serving(group)?.index.oldestFrozen?.lastNumber,
        durable: (group) => this.#serving(group)?.watermarks.durable,
        journalSyncFailed: () => {
          // Later the records are written again, from memory.
          if (!this.isServing) this.restarts.expectDurableOnly();
        },
        hasName: (path, file) => this.machine.tree.find(path) === file,
        needed: (groupId) =>
          this.isServing ? Number.POSITIVE_INFINITY : this.restarts.mustHave(groupId),
      },
      report,
    );
    this.machine.observer = this.tap;
    counter.expect(codeKinds);
    this.#transitions = new TransitionWatch(counter);
    fillNoise(this.random.fork('noise'));
    const { tap, network, excuses } = this;
    const random = this.random.fork('hosts');
    this.hosts = new HostCrew({ network, tap, counter, excuses, random, report });
    this.restarts = new RestartCheck({ tap, counter, excuses, note }, report);
  }

  get daemon(): SimulatedDaemon {
    if (!this.#daemon) throw new Error('no daemon was started');
    return this.#daemon;
  }

  get isServing(): boolean {
    return this.#daemon?.isServing ?? false;
  }

  get log(): readonly string[] {
    return this.#log;
  }

  get groups(): ReadonlyMap<string, Group> {
    return this.daemon.composed.system.groups;
  }

  #serving(name: string): Group | undefined {
    return this.isServing ? this.groups.get(name) : undefined;
  }

  modelOf(name: string): GroupModel {
    const model = this.tap.model(name);
    if (!model) throw new Error(`group ${name} has no model`);
    return model;
  }

  report(text: string): void {
    this.#violations.push(text);
  }

  note(text: string): void {
    const line = `${this.clock.monotonicMilliseconds().toFixed(3)} ${text}`;
    this.#log.push(line);
    if (this.#isVerbose) console.log(line);
  }

  fail(text: string): never {
    throw new SimulationFailed(text);
  }

  check(): void {
    const [first] = this.#violations;
    if (first !== undefined) this.fail(first);
  }

  // --- time

  /** Lets the world go on until `isDone`. What a disk holds the thread up for does not count. */
  async until(isDone: () => boolean, milliseconds = hangMilliseconds): Promise<Outcome> {
    const { clock } = this;
    const end = clock.monotonicMilliseconds() + milliseconds - clock.blockedMilliseconds;
    const daemon = this.#daemon;
    await settlePromises();
    for (;;) {
      this.#look();
      this.check();
      if (daemon?.isDead) return 'dead';
      if (isDone()) return 'done';
      if (clock.monotonicMilliseconds() >= end + clock.blockedMilliseconds) return 'late';
      try {
        if (!clock.step()) return 'late';
      } catch (error) {
        // What a dying process does to itself hurts nobody.
        if (!daemon?.isDead) this.fail(`the daemon failed: ${stackOf(error)}`);
      }
      await settlePromises();
    }
  }

  async pass(milliseconds: number): Promise<Outcome> {
    let isOver = false;
    const timer = this.clock.after(milliseconds, () => {
      isOver = true;
    });
    const outcome = await this.until(() => isOver);
    timer.cancel();
    return outcome;
  }

  /** The end of a promise that the daemon is to settle. */
  async settled<T>(
    promise: Promise<T>,
    milliseconds = hangMilliseconds,
  ): Promise<{ readonly value: T } | { readonly error: unknown } | 'dead' | 'late'> {
    let result: { readonly value: T } | { readonly error: unknown } | undefined;
    promise.then(
      (value) => {
        result = { value };
      },
      (error: unknown) => {
        result = { error };
      },
    );
    const outcome = await this.until(() => result !== undefined, milliseconds);
    if (outcome !== 'done') return outcome;
    return result ?? 'late';
  }

  #look(): void {
    if (!this.isServing) return;
    this.#transitions.look(this.groups);
    for (const group of this.groups.values()) {
      const model = this.tap.models.get(group.catalog.groupId);
      if (!model) continue;
      this.restarts.look(group, model);
      this.#foldReleased(group, model);
    }
  }

  #foldReleased({ name, watermarks }: Group, model: GroupModel): void {
    const { released } = watermarks;
    if (released - model.base.number < 256 || model.hasJournalOnly) return;
    let number = released;
    for (const host of this.hosts) {
      if (host.group === name) number = Math.min(number, host.lowestFloor);
    }
    model.fold(number);
  }

  // --- lives

  /** Starts the daemon. `refused`: it says why, with an error that was to be expected. */
  async start(): Promise<'serving' | 'dead' | 'refused'> {
    this.#starts += 1;
    const daemon = new SimulatedDaemon(this, this.random.fork(`start ${this.#starts}`));
    this.#daemon = daemon;
    const result = await this.settled(daemon.starting);
    if (result === 'late') this.fail('the daemon does not come up');
    if (result === 'dead') {
      this.#ended();
      return 'dead';
    }
    if ('error' in result) {
      daemon.exited();
      this.#ended();
      return this.#refusedToStart(result.error);
    }
    this.#look();
    this.note('started');
    this.restarts.check(this.groups);
    this.check();
    return 'serving';
  }

  #refusedToStart(error: unknown): 'refused' {
    const { code, message } = this.operatingError(error, 'the start');
    this.counter.count(`start refused: ${code}`);
    this.note(`start refused: ${message}`);
    if (!this.excuses.has('start') && !this.excuses.has('disk')) {
      this.fail(`the daemon does not start: ${stackOf(error)}`);
    }
    return 'refused';
  }

  /** Any other error is one of programming, and ends the process. */
  operatingError(error: unknown, what: string): JnbdError {
    if (!(error instanceof JnbdError)) this.fail(`${what}: ${stackOf(error)}`);
    this.counter.count(`code ${error.code}`);
    return error;
  }

  /** The daemon is dead, or is killed now; with it the hosts' connections. */
  crash(kind: CrashKind): void {
    this.note(`crash: ${kind}`);
    this.#look();
    if (kind === 'power') {
      this.machine.powerLost();
      this.tap.powerLost();
      this.#readCheckpoints();
    } else if (kind === 'kill') {
      this.#daemon?.kill();
    }
    // Answers that were under way arrive, or the connection ends.
    this.hosts.abandon();
    this.clock.runFor(1);
    this.restarts.ended(kind);
    this.#ended();
  }

  /** What the device says of how far volumes are. */
  #readCheckpoints(): void {
    for (const model of this.tap.models.values()) {
      const directory = `/data/groups/${model.name}`;
      const applied = checkpointOnDevice(this.machine, directory);
      if (applied === undefined) this.tap.checkpoints.delete(directory);
      else this.tap.checkpoints.set(directory, applied);
    }
  }

  #ended(): void {
    for (const { code } of this.#daemon?.events ?? []) this.counter.count(`event ${code}`);
    this.#transitions.forget();
    this.tap.processEnded();
    this.hosts.clear();
    this.machine.faults.clear();
  }

  /** SIGTERM: the daemon ends by itself, and everything is durable. */
  async stop(): Promise<void> {
    this.excuses.add('stopping');
    const { daemon } = this;
    const result = await this.settled(daemon.composed.stop(1000));
    this.hosts.checkConnections();
    this.excuses.delete('stopping');
    if (result === 'dead') {
      this.crash('kill');
      return;
    }
    if (result === 'late') this.fail('the daemon does not stop');
    if ('error' in result) this.fail(`stop failed: ${stackOf(result.error)}`);
    this.#look();
    for (const model of this.tap.models.values()) {
      if (this.restarts.isUsable(model)) {
        model.proveDurable(model.newest, 'the daemon ended in order at');
      }
    }
    this.check();
    daemon.exited();
    this.crash('stop');
  }

  /** Waits until every host is done; what happens meanwhile ends it early. */
  async hostsDone(milliseconds = hangMilliseconds): Promise<Outcome> {
    const outcome = await this.until(() => this.hosts.areIdle, milliseconds);
    if (outcome === 'late' && !this.excuses.has('stall')) {
      this.fail(`hosts hang: ${this.hosts.waiting()}; ${describeGroups(this.groups.values())}`);
    }
    if (outcome === 'done') this.hosts.checkConnections();
    this.check();
    return outcome;
  }

  /** Carries a verb out, as the command line does. */
  async verb(
    name: string,
    input: Record<string, unknown>,
    expectedCode?: string,
    abort?: AbortController,
  ): Promise<'done' | 'failed' | 'dead'> {
    const { control } = this.daemon.composed;
    const { signal } = abort ?? new AbortController();
    const call = { signal, progress: () => abort?.abort() };
    const what = `${name} ${JSON.stringify(input)}`;
    const result = await this.settled(control.change(`/verbs/${name}`, input, call));
    if (result === 'dead') return 'dead';
    if (result === 'late') {
      this.fail(`${what} does not end: ${describeGroups(this.groups.values())}`);
    }
    if ('error' in result) {
      const { code, message } = this.operatingError(result.error, what);
      this.counter.count(`verb refused: ${code}`);
      this.note(`${what}: ${message}`);
      if (code !== expectedCode && !this.excuses.has('disk') && !this.excuses.has('space')) {
        this.fail(`${what}: ${stackOf(result.error)}`);
      }
      return 'failed';
    }
    this.check();
    if (expectedCode !== undefined && abort === undefined) {
      this.fail(`${what} is done, but ${expectedCode} was to be expected`);
    }
    return 'done';
  }

  /** Reads every volume whole and holds it against the history. */
  async verify(): Promise<Outcome> {
    const readers = this.hosts.connectReaders(this.groups.values());
    let outcome = await this.until(() =>
      readers.every(({ host }) => host.isReady || host.isClosed),
    );
    if (outcome !== 'done') return outcome;
    for (const reader of readers) if (reader.host.isReady) reader.verify();
    outcome = await this.hostsDone();
    for (const reader of readers) this.hosts.disconnect(reader);
    return outcome;
  }
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
