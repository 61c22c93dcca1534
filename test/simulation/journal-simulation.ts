import type { Group } from '../../src/group/group.ts';
import { JnbdError, systemErrorCode } from '../../src/platform/errors.ts';
import type { ReplyForm } from '../../src/nbd/negotiation.ts';
import type { FaultCounter } from './faults.ts';
import type { GroupModel } from './group-model.ts';
import { checkpointOnDevice, JournalTap } from './journal-tap.ts';
import { SimulatedClock } from './simulated-clock.ts';
import { SimulatedDaemon } from './simulated-daemon.ts';
import { SimulatedDisk } from './simulated-disk.ts';
import type { HostRequest } from './simulated-host.ts';
import { SimulatedNetwork } from './simulated-network.ts';
import { SimulatedRandom } from './simulated-random.ts';
import { TransitionWatch } from './transitions.ts';
import { fillNoise, WorkHost, type Workload } from './work-host.ts';

/** What was promised did not hold. */
export class SimulationFailed extends Error {}

export type Outcome = 'done' | 'dead' | 'late';
export type CrashKind = 'kill' | 'power' | 'stop';

/** Why a host, or who gave a command, may be told of an error at the moment. */
export type Excuse = 'disk' | 'space' | 'stopping' | 'stall' | 'start';

const replyForms: readonly ReplyForm[] = ['simple', 'structured', 'extended'];
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
  readonly excuses = new Set<Excuse>();
  /** Those that hold to the end. */
  readonly standingExcuses = new Set<Excuse>();
  /**
   * Groups whose journal has to be found damaged, by the first number that cannot be read; `maybe`
   * where it depends.
   */
  readonly expectedDamage = new Map<string, number | 'maybe'>();
  /** Groups that are there for sure. */
  readonly groupNames = new Set<string>();
  readonly #transitions: TransitionWatch;
  readonly #violations: string[] = [];
  readonly #hosts = new Set<WorkHost>();
  readonly #isVerbose: boolean;
  readonly #log: string[] = [];
  /** What has to be there after the next start, by group id. */
  readonly #mustHave = new Map<string, number>();
  readonly #durableSeen = new Map<string, number>();
  readonly #failedJournals = new Set<string>();
  /** Groups that this life found, and could not use. */
  readonly #unrecovered = new Set<string>();
  #daemon: SimulatedDaemon | undefined;
  #starts = 0;
  #acks = 0;

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
    this.tap = new JournalTap(
      {
        batch: (group) => this.#group(group)?.index.oldestFrozen?.lastNumber,
        durable: (group) => this.#group(group)?.watermarks.durable,
        hasName: (path, file) => this.machine.tree.find(path) === file,
        needed: (groupId) =>
          this.isServing ? Number.POSITIVE_INFINITY : (this.#mustHave.get(groupId) ?? 0),
      },
      (text) => this.report(text),
    );
    this.machine.observer = this.tap;
    this.#transitions = new TransitionWatch(counter);
    fillNoise(this.random.fork('noise'));
  }

  get daemon(): SimulatedDaemon {
    if (!this.#daemon) throw new Error('no daemon was started');
    return this.#daemon;
  }

  /** What went wrong so far was mended. */
  healed(): void {
    this.excuses.clear();
    for (const excuse of this.standingExcuses) this.excuses.add(excuse);
  }

  get isServing(): boolean {
    return this.#daemon?.isServing ?? false;
  }

  get log(): readonly string[] {
    return this.#log;
  }

  get acks(): number {
    return this.#acks;
  }

  get hosts(): ReadonlySet<WorkHost> {
    return this.#hosts;
  }

  #group(name: string): Group | undefined {
    if (!this.#daemon?.isServing) return undefined;
    return this.#daemon.composed.system.groups.get(name);
  }

  group(name: string): Group {
    return this.daemon.composed.system.group(name);
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

  /** Lets the world go on until `isDone`. */
  async until(isDone: () => boolean, milliseconds = hangMilliseconds): Promise<Outcome> {
    const end = this.clock.monotonicMilliseconds() + milliseconds;
    const daemon = this.#daemon;
    await settlePromises();
    for (;;) {
      this.#look();
      this.check();
      if (daemon?.isDead) return 'dead';
      if (isDone()) return 'done';
      if (this.clock.monotonicMilliseconds() >= end) return 'late';
      try {
        if (!this.clock.step()) return 'late';
      } catch (error) {
        // What a dying process does to itself hurts nobody.
        if (!daemon?.isDead) {
          const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
          this.fail(`the daemon failed: ${text}`);
        }
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
    if (!this.#daemon?.isServing) return;
    const { groups } = this.#daemon.composed.system;
    this.#transitions.look(groups);
    for (const [name, group] of groups) {
      const model = this.tap.models.get(group.catalog.groupId);
      if (!model) continue;
      model.name = name;
      const { durable, released } = group.watermarks;
      if (this.#unrecovered.has(model.groupId)) continue;
      if (group.state === 'normal' || this.#failedJournals.has(model.groupId)) {
        this.#durableSeen.set(model.groupId, durable);
      }
      if (group.conditions.has(name, 'journal_failed') && group.state !== 'normal') {
        if (!this.#failedJournals.has(model.groupId)) {
          for (const entry of this.tap.ledger.unrecorded(model.groupId)) model.ghosts.push(entry);
        }
        this.#failedJournals.add(model.groupId);
      }
      if (released - model.base.number >= 256 && !isJournalOnly(model)) {
        let number = released;
        for (const host of this.#hosts) {
          if (host.group === name) number = Math.min(number, host.lowestFloor);
        }
        model.fold(number);
      }
    }
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
    this.note(`started`);
    for (const model of this.tap.models.values()) this.#checkRecovered(model);
    this.check();
    return 'serving';
  }

  #refusedToStart(error: unknown): 'refused' {
    const code = error instanceof JnbdError ? error.code : (systemErrorCode(error) ?? 'no code');
    const text = error instanceof Error ? error.message : String(error);
    this.counter.count(`start refused: ${code}`);
    this.note(`start refused: ${text}`);
    if (!this.excuses.has('start') && !this.excuses.has('disk')) {
      this.fail(`the daemon does not start: ${error instanceof Error ? error.stack : text}`);
    }
    return 'refused';
  }

  #checkRecovered(model: GroupModel): void {
    const { system } = this.daemon.composed;
    const group = [...system.groups.values()].find(
      ({ catalog }) => catalog.groupId === model.groupId,
    );
    if (!group) {
      if (this.groupNames.has(model.name)) this.report(`group ${model.name} is gone`);
      this.tap.models.delete(model.groupId);
      return;
    }
    const expected = this.expectedDamage.get(model.name);
    if (group.conditions.has(group.name, 'journal_full') && this.excuses.has('stall')) {
      this.note(`group ${group.name} is full at ${group.watermarks.durable}`);
      this.counter.count('group opened full');
      this.#unrecovered.add(model.groupId);
      if (group.watermarks.durable < (this.#mustHave.get(model.groupId) ?? 0)) {
        this.report(`group ${group.name} is full, and only ${group.watermarks.durable} is there`);
      }
      return;
    }
    if (group.state === 'abnormal' || typeof expected === 'number') {
      this.#unrecovered.add(model.groupId);
      this.#checkDamage(group, expected);
      return;
    }
    const mustHave = this.#mustHave.get(model.groupId) ?? 0;
    const { durable } = group.watermarks;
    this.note(`group ${group.name}: recovered ${durable}, of ${mustHave} to ${model.newest}`);
    if (durable < mustHave) {
      this.report(
        `group ${group.name}: update ${mustHave} was promised, but after the restart the last one is ${durable}`,
      );
      return;
    }
    if (durable > model.newest) {
      this.report(
        `group ${group.name}: after the restart the last update is ${durable}, but only ${model.newest} were ever written`,
      );
      return;
    }
    model.rollBack(durable);
    this.#mustHave.delete(model.groupId);
    this.#failedJournals.delete(model.groupId);
    this.#durableSeen.set(model.groupId, durable);
    this.#checkCatalog(group, model);
  }

  #checkDamage(group: Group, expected: number | 'maybe' | undefined): void {
    if (group.state === 'abnormal' && (expected === 'maybe' || this.excuses.has('disk'))) {
      this.note(`group ${group.name} is abnormal, as may be: ${group.failureText}`);
      return;
    }
    if (expected === undefined) {
      this.report(`group ${group.name} is abnormal, and nothing was damaged: ${group.failureText}`);
      return;
    }
    if (group.state !== 'abnormal') {
      this.report(
        `group ${group.name}: update ${expected} was durable and is damaged, but the group is ${group.state} at ${group.watermarks.durable}`,
      );
      return;
    }
    this.counter.count('group found damaged');
    const named = /updates (\d+) to (\d+) were durable/.exec(group.failureText);
    if (!named || Number(named[1]) !== expected) {
      this.report(
        `group ${group.name}: update ${expected} is damaged, and the group says: ${group.failureText}`,
      );
    }
  }

  #checkCatalog(group: Group, model: GroupModel): void {
    const expected = JSON.stringify(
      [...model.current.volumes.values()].map(({ catalog }) => catalog),
    );
    const found = JSON.stringify(group.catalog.volumes);
    if (expected !== found) {
      this.report(`group ${group.name}: the volumes are ${found}, but should be ${expected}`);
    }
    if (this.excuses.has('disk')) return;
    for (const { catalog, state, failure } of group.volumes.values()) {
      if (state === catalog.state) continue;
      this.report(`volume ${group.name}/${catalog.name} is ${state} after the restart: ${failure}`);
    }
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
    for (const host of this.#hosts) host.abandon();
    this.clock.runFor(1);
    for (const model of this.tap.models.values()) {
      const durable = this.#durableSeen.get(model.groupId) ?? 0;
      const isFailed = this.#failedJournals.has(model.groupId);
      const lowest =
        kind !== 'power' && !isFailed ? model.newestWhole : Math.max(model.promised, durable);
      // A start that did not recover the group promised nothing more, nor less.
      const before = this.#mustHave.get(model.groupId) ?? Number.POSITIVE_INFINITY;
      this.#mustHave.set(model.groupId, Math.min(before, lowest));
    }
    this.#ended();
  }

  /** Of what was to be there after the next start, only what was durable. */
  expectDurableOnly(): void {
    for (const model of this.tap.models.values()) {
      const durable = Math.max(model.promised, this.#durableSeen.get(model.groupId) ?? 0);
      const before = this.#mustHave.get(model.groupId) ?? durable;
      this.#mustHave.set(model.groupId, Math.min(before, durable));
    }
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
    this.#unrecovered.clear();
    this.#transitions.forget();
    this.tap.processEnded();
    this.#hosts.clear();
    this.machine.faults.clear();
  }

  /** SIGTERM: the daemon ends by itself, and everything is durable. */
  async stop(): Promise<void> {
    this.excuses.add('stopping');
    const { daemon } = this;
    const result = await this.settled(daemon.composed.stop(1000));
    this.excuses.delete('stopping');
    if (result === 'dead') {
      this.crash('kill');
      return;
    }
    if (result === 'late') this.fail('the daemon does not stop');
    if ('error' in result) this.fail(`stop failed: ${String(result.error)}`);
    this.#look();
    for (const model of this.tap.models.values()) {
      if (!this.#failedJournals.has(model.groupId) && !this.#unrecovered.has(model.groupId)) {
        model.proveDurable(model.newest, 'the daemon ended in order at');
      }
    }
    this.check();
    daemon.exited();
    this.crash('stop');
  }

  // --- hosts

  connect(group: string, volume: string, workload: Workload): WorkHost {
    const host = new WorkHost(
      {
        network: this.network,
        tap: this.tap,
        report: (text) => this.report(text),
        failed: (failing, request) => this.#requestFailed(failing, request),
        count: (what) => this.counter.count(what),
      },
      this.random.fork(`host ${this.clock.events} ${this.#hosts.size}`),
      group,
      volume,
      workload,
      this.random.pick(replyForms),
    );
    this.#hosts.add(host);
    return host;
  }

  disconnect(host: WorkHost): void {
    host.host.destroy();
    this.#hosts.delete(host);
  }

  /** Waits until every host is done; what happens meanwhile ends it early. */
  async hostsDone(milliseconds = hangMilliseconds): Promise<Outcome> {
    const outcome = await this.until(
      () => [...this.#hosts].every((host) => host.isIdle),
      milliseconds,
    );
    if (outcome === 'late' && !this.excuses.has('stall')) {
      const waiting = [...this.#hosts]
        .filter((host) => !host.isIdle)
        .map((host) => `${host.group}/${host.volume} waits for ${host.host.underWay} answers`);
      this.fail(`hosts hang: ${waiting.join(', ')}; ${this.#state()}`);
    }
    if (outcome === 'done') this.#checkHosts();
    return outcome;
  }

  #checkHosts(): void {
    for (const host of this.#hosts) {
      if (!host.isCut) continue;
      this.#hosts.delete(host);
      if (
        host.refusal === undefined &&
        !this.excuses.has('stopping') &&
        !this.excuses.has('disk')
      ) {
        this.report(`${host.group}/${host.volume}: the daemon cut the connection`);
      }
      if (host.refusal !== undefined && !this.#mayFail('EIO')) {
        this.report(`${host.group}/${host.volume}: refused: ${host.refusal}`);
      }
    }
    this.check();
  }

  #mayFail(error: 'EIO' | 'ENOSPC' | 'ESHUTDOWN'): boolean {
    if (error === 'ENOSPC') return this.excuses.has('space');
    if (error === 'ESHUTDOWN') return this.excuses.has('stopping');
    return this.excuses.has('disk') || this.excuses.has('stall') || this.expectedDamage.size > 0;
  }

  #requestFailed(host: WorkHost, request: HostRequest): void {
    const names: Readonly<Record<number, 'EIO' | 'ENOSPC' | 'ESHUTDOWN'>> = {
      5: 'EIO',
      28: 'ENOSPC',
      108: 'ESHUTDOWN',
    };
    const name = names[request.errno];
    this.counter.count(`error ${name ?? request.errno}`);
    if (name !== undefined && this.#mayFail(name)) return;
    this.report(
      `${host.group}/${host.volume}: command ${request.type} of ${request.length} bytes at ${request.offset} failed with ${name ?? request.errno}: ${request.errorText}`,
    );
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
    const result = await this.settled(control.change(`/verbs/${name}`, input, call));
    if (result === 'dead') return 'dead';
    if (result === 'late')
      this.fail(`${name} ${JSON.stringify(input)} does not end: ${this.#state()}`);
    if ('error' in result) {
      const { error } = result;
      const code = error instanceof JnbdError ? error.code : (systemErrorCode(error) ?? 'no code');
      this.counter.count(`verb refused: ${code}`);
      this.note(`${name} ${JSON.stringify(input)}: ${String(error)}`);
      const isExpected = code === expectedCode;
      if (!isExpected && !this.excuses.has('disk') && !this.excuses.has('space')) {
        this.fail(
          `${name} ${JSON.stringify(input)}: ${error instanceof Error ? error.stack : String(error)}`,
        );
      }
      return 'failed';
    }
    this.check();
    if (expectedCode !== undefined && abort === undefined) {
      this.fail(`${name} ${JSON.stringify(input)} is done, but ${expectedCode} was to be expected`);
    }
    return 'done';
  }

  /** For who reads of a hang. */
  #state(): string {
    const groups = [...this.daemon.composed.system.groups.values()].map((group) => {
      const { released, applied, durable, newest } = group.watermarks;
      const areas = group.areas.map(
        (area) => `${area.state} ${area.freeSlots.length}/${area.slots}`,
      );
      return `${group.name} ${group.state}, apply ${group.applyState}, ${released} <= ${applied} <= ${durable} <= ${newest}, areas ${areas.join(' and ')}, conditions ${
        group.conditions
          .list()
          .map(({ code }) => code)
          .join(' ') || 'none'
      }`;
    });
    return groups.join('; ');
  }

  /** Reads every volume whole and holds it against the history. */
  async verify(): Promise<Outcome> {
    const hosts: WorkHost[] = [];
    for (const { name, volumes } of this.daemon.composed.system.groups.values()) {
      for (const volume of volumes.values()) {
        if (volume.state !== 'normal' || volume.catalog.journalOnly) continue;
        hosts.push(this.connect(name, volume.catalog.name, readingOnly));
      }
    }
    let outcome = await this.until(() => hosts.every(({ host }) => host.isReady || host.isClosed));
    if (outcome !== 'done') return outcome;
    for (const host of hosts) if (host.host.isReady) host.verify();
    outcome = await this.hostsDone();
    for (const host of hosts) this.disconnect(host);
    return outcome;
  }

  /** The backing files themselves, where everything is applied. */
  checkFiles(): void {
    for (const group of this.daemon.composed.system.groups.values()) {
      const model = this.tap.models.get(group.catalog.groupId);
      if (!model || !group.index.isEmpty || group.state !== 'normal') continue;
      for (const { catalog, backingFile } of group.volumes.values()) {
        const image = model.current.volumes.get(catalog.id);
        const node = this.machine.tree.find(backingFile);
        if (!image || catalog.journalOnly || !node || node.isDirectory) continue;
        const found = Buffer.alloc(image.contents.length);
        node.read(found, 0, found.length, 0);
        if (!found.equals(image.contents)) {
          this.report(
            `${backingFile} is not what update ${model.newest} left, though all is applied`,
          );
        }
      }
    }
    this.check();
  }

  modelOf(name: string): GroupModel {
    const model = this.tap.model(name);
    if (!model) throw new Error(`group ${name} has no model`);
    return model;
  }
}

const readingOnly: Workload = {
  mix: { write: 0, fua: 0, flush: 0, trim: 0, zeroes: 0, read: 1, status: 0, cache: 0 },
  sizes: [4096],
  alignment: 1,
  hotBytes: 4096,
  depth: 4,
};

function isJournalOnly(model: GroupModel): boolean {
  return [...model.current.volumes.values()].some(({ catalog }) => catalog.journalOnly);
}

/** Every promise that can go on without this world's events has gone on. */
function settlePromises(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
