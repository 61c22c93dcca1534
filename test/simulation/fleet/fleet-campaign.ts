import { type ErrorCode, JnbdError } from '../../../src/platform/errors.ts';
import { must } from '../../../src/platform/assert.ts';
import { KiB } from '../../../src/platform/limits.ts';
import { Fleet } from '../../replicator/fleet.ts';
import type { CrashKind } from '../crash-kind.ts';
import type { FaultCounter } from '../faults.ts';
import { ProcessDied } from '../simulated-process-disk.ts';
import { settlePromises } from '../settled-promises.ts';
import type { SimulatedRandom } from '../simulated-random.ts';
import { FleetHistory } from './fleet-history.ts';
import { FleetHolds } from './fleet-holds.ts';
import { fillNoise, type FleetWorkload } from './fleet-host.ts';
import { FleetMember } from './fleet-member.ts';
import { FleetProtection } from './fleet-protection.ts';
import { FleetWatch } from './fleet-watch.ts';

/** What was promised did not hold. */
export class FleetFailed extends Error {}

export type VerbOutcome = 'done' | 'refused' | 'dead';

const hangMilliseconds = 300_000;
const logLinesMax = 200;
/** Of campaigns in which the past is kept. */
const pastChance = 0.12;
/** Points are as frequent as batches, now and then more so. */
const checksumPointMilliseconds = 100;

/** What another system, or the way to it, may say instead of yes. */
export const peerCodes: readonly ErrorCode[] = [
  'peer_unreachable',
  'peer_silent',
  'connection_lost',
  'request_aborted',
  'protocol_violated',
  'group_not_found',
  'group_state',
  'shutting_down',
  'memory_exhausted',
];

const diskCodes: readonly ErrorCode[] = [
  'disk_full',
  'write_failed',
  'read_failed',
  'sync_failed',
  'journal_failed',
];

/** The systems, their links and hosts, and what they are promised. Everything comes from the seed. */
export class FleetCampaign {
  readonly random: SimulatedRandom;
  /** Who is synchronous; undefined: nobody ever is. */
  readonly synchronous: SimulatedRandom | undefined;
  /** What happens in some campaigns only, and leaves the others as they are. */
  readonly rare: SimulatedRandom;
  readonly areCopiesSlow: boolean;
  /** What goes back to earlier updates; undefined: nothing ever does, and no past is kept. */
  readonly past: SimulatedRandom | undefined;
  readonly counter: FaultCounter;
  readonly fleet: Fleet;
  readonly history = new FleetHistory();
  readonly members: readonly FleetMember[];
  /** Those that were primary until another one was promoted without them, or may still become it. */
  readonly stale = new Set<FleetMember>();
  /** Those that were, or may have been, told to take over. */
  readonly heirs = new Set<FleetMember>();
  /** Those whose disk fails now and then. */
  readonly troubled = new Set<FleetMember>();
  readonly log: string[] = [];
  readonly #watch: FleetWatch;
  readonly #holds: FleetHolds;
  readonly protection: FleetProtection;
  readonly #violations: string[] = [];
  readonly #isVerbose: boolean;
  #volumes = 0;
  /** Written by hosts. */
  records = 0;
  bytes = 0;

  constructor(seed: number, counter: FaultCounter, isVerbose = false, isSynchronous = false) {
    this.counter = counter;
    this.#isVerbose = isVerbose;
    this.fleet = new Fleet(`fleet ${seed}`, { counter });
    this.random = this.fleet.random.fork('campaign');
    this.synchronous = isSynchronous ? this.random.fork('synchronous') : undefined;
    this.rare = this.random.fork('rare');
    this.areCopiesSlow = this.rare.chance(0.2);
    const past = this.random.fork('past');
    this.past = past.chance(pastChance) ? past : undefined;
    fillNoise(this.random.fork('noise'));
    this.members = ['alpha', 'beta', 'gamma', 'delta', 'relay'].map(
      (host) =>
        new FleetMember(this.fleet.add(host), {
          history: this.history,
          random: this.random.fork(host),
          isJournalOnly: host === 'relay',
          report: (text) => this.#violations.push(text),
          isSomebodyStarting: () =>
            this.members.some(({ isAlive, isServing }) => isAlive && !isServing),
        }),
    );
    const report = (text: string): void => {
      this.#violations.push(text);
    };
    this.#watch = new FleetWatch(counter, report);
    this.#holds = new FleetHolds(this.members, report);
    this.protection = new FleetProtection(counter, isSynchronous, report);
  }

  get now(): number {
    return this.fleet.clock.monotonicMilliseconds();
  }

  member(name: string): FleetMember {
    return must(
      this.members.find((each) => each.name === name),
      `${name} is of the fleet`,
    );
  }

  get serving(): FleetMember[] {
    return this.members.filter(({ isServing }) => isServing);
  }

  /** Where hosts write; undefined while nobody is. */
  get primary(): FleetMember | undefined {
    return this.members.find((each) => each.group?.role === 'primary' && !this.stale.has(each));
  }

  note(text: string): void {
    const line = `${this.now.toFixed(3)} ${text}`;
    this.log.push(line);
    if (this.log.length > logLinesMax) this.log.shift();
    if (this.#isVerbose) console.log(line);
  }

  fail(text: string): never {
    throw new FleetFailed(text);
  }

  check(): void {
    const [first] = this.#violations;
    if (first !== undefined) this.fail(first);
  }

  // --- time

  /** False: it took longer. */
  async until(isDone: () => boolean, milliseconds = hangMilliseconds): Promise<boolean> {
    const end = this.now + milliseconds;
    await settlePromises();
    for (;;) {
      this.#look();
      this.check();
      if (isDone()) return true;
      if (this.now >= end) return false;
      this.#step();
      await settlePromises();
    }
  }

  #step(): void {
    try {
      if (!this.fleet.clock.step()) this.fail('nothing is scheduled');
    } catch (error) {
      // What a dying process does to itself hurts nobody.
      const isOfTheDead = this.members.some((each) => each.isAlive && each.system.daemon.isDead);
      if (!isOfTheDead && !(error instanceof ProcessDied)) throw error;
    }
  }

  async pass(milliseconds: number): Promise<void> {
    let isOver = false;
    const timer = this.fleet.clock.after(milliseconds, () => {
      isOver = true;
    });
    await this.until(() => isOver);
    timer.cancel();
  }

  #look(): void {
    let primaries = 0;
    for (const each of this.members) {
      if (each.isAlive && each.system.daemon.isDead) this.#died(each, 'kill');
      if (!each.isServing) continue;
      each.look();
      this.#watch.look(each);
      this.#holds.look(each);
      if (each.group?.role === 'primary' && !this.stale.has(each)) primaries += 1;
    }
    this.protection.look(this.members);
    if (primaries > 1) {
      const names = this.members.filter(({ group }) => group?.role === 'primary');
      this.#violations.push(`primaries are ${names.map(({ name }) => name).join(' and ')}`);
    }
  }

  // --- lives

  #died(member: FleetMember, kind: CrashKind): void {
    this.#watch.ended(member);
    this.protection.ended(member);
    member.ended(kind);
    this.note(`${member.name} died (${kind})`);
  }

  async crash(member: FleetMember, kind: CrashKind): Promise<void> {
    if (!member.isAlive) {
      if (kind === 'power') {
        member.system.losePower();
        member.lostPower();
      }
      return;
    }
    if (kind === 'stop') await this.#stop(member);
    else if (kind === 'power') member.system.losePower();
    else member.system.kill();
    if (member.isAlive) this.#died(member, kind);
    member.system.machine.faults.clear();
    this.troubled.delete(member);
  }

  async #stop(member: FleetMember): Promise<void> {
    member.dropHosts();
    const { daemon } = member.system;
    if (!member.isServing) {
      daemon.kill();
      return;
    }
    const ending = this.#settle(daemon.composed.stop(1000));
    const isOver = await this.until(() => ending.isOver || daemon.isDead);
    if (!isOver) this.fail(`${member.name} does not stop`);
    if (ending.error !== undefined && !daemon.isDead) throw asError(ending.error);
    daemon.kill();
  }

  /** Again and again, until it serves. */
  async start(member: FleetMember): Promise<void> {
    for (let attempt = 0; attempt < 10; attempt += 1) {
      if (member.isServing) return;
      const daemon = member.system.begin({ checksumPointMilliseconds });
      member.launched();
      const starting = this.#settle(daemon.starting);
      const isOver = await this.until(() => starting.isOver || daemon.isDead);
      if (!isOver) this.fail(`${member.name} does not come up`);
      if (!daemon.isDead && starting.error === undefined) {
        this.note(`${member.name} serves`);
        return;
      }
      if (!daemon.isDead) {
        this.#refused(member, starting.error, 'start', diskCodes);
        member.system.kill();
      }
      if (member.isAlive) this.#died(member, 'kill');
      member.system.machine.faults.clear();
    }
    this.fail(`${member.name} does not start`);
  }

  #settle(promise: Promise<unknown>): { isOver: boolean; error: unknown } {
    const result = { isOver: false, error: undefined as unknown };
    promise.then(
      () => {
        result.isOver = true;
      },
      (error: unknown) => {
        result.isOver = true;
        result.error = error;
      },
    );
    return result;
  }

  #refused(
    member: FleetMember,
    error: unknown,
    what: string,
    allowed: readonly ErrorCode[],
  ): ErrorCode {
    if (!(error instanceof JnbdError)) throw error;
    this.counter.count(`code ${error.code}`);
    this.note(`${member.name}: ${what}: ${error.code}: ${error.message}`);
    const isOfTheDisk = this.troubled.has(member) && diskCodes.includes(error.code);
    if (!allowed.includes(error.code) && !isOfTheDisk) {
      this.fail(`${member.name}: ${what}: ${error.stack ?? error.message}`);
    }
    return error.code;
  }

  /** The code of the last refusal. */
  lastRefusal: ErrorCode | undefined;

  /** Carries a verb out, as the command line does. */
  async verb(
    member: FleetMember,
    name: string,
    input: Record<string, unknown>,
    allowed: readonly ErrorCode[] = [],
  ): Promise<VerbOutcome> {
    const outcome = await this.ask(member, name, input, allowed, hangMilliseconds);
    if (outcome !== 'late') return outcome;
    return this.fail(
      `${member.name}: ${name} ${JSON.stringify(input)} does not end: ${describe(member)}`,
    );
  }

  /** `late`: it goes on, and nobody waits for it any more. */
  async ask(
    member: FleetMember,
    name: string,
    input: Record<string, unknown>,
    allowed: readonly ErrorCode[],
    milliseconds: number,
  ): Promise<VerbOutcome | 'late'> {
    const { daemon } = member.system;
    const what = `${name} ${JSON.stringify(input)}`;
    const call = { signal: new AbortController().signal, progress: () => undefined };
    const path = `/verbs/${name.replaceAll(' ', '-')}`;
    const asked = daemon.composed.control.change(path, input, call);
    const result = this.#settle(asked);
    const isOver = await this.until(() => result.isOver || daemon.isDead, milliseconds);
    if (daemon.isDead) return 'dead';
    if (!isOver) {
      this.note(`${member.name}: ${what}, which goes on`);
      asked.catch((error: unknown) => {
        if (error instanceof JnbdError || daemon.isDead) return;
        this.#violations.push(`${member.name}: ${what}: ${asError(error).stack}`);
      });
      return 'late';
    }
    if (result.error === undefined) {
      this.note(`${member.name}: ${what}`);
      return 'done';
    }
    this.lastRefusal = this.#refused(member, result.error, what, allowed);
    return 'refused';
  }

  // --- hosts

  anyWorkload(): FleetWorkload {
    return {
      sizeBytesMax: this.random.pick([512, 4 * KiB, 16 * KiB, 64 * KiB]),
      clears: this.random.pick([0, 5, 20]),
    };
  }

  /** Hosts write so much, as far as they may now. Returns how much they did. */
  write(member: FleetMember, count: number, workload = this.anyWorkload()): number {
    const { group } = member;
    if (!group || group.role !== 'primary') return 0;
    for (const host of member.hosts.filter(({ isRevoked }) => isRevoked)) {
      member.hosts.splice(member.hosts.indexOf(host), 1);
      host.close();
    }
    for (const volume of group.volumes.keys()) {
      if (!member.hosts.some((host) => host.volume === volume)) member.open(volume);
    }
    let written = 0;
    try {
      for (const host of member.hosts) {
        const before = host.writtenBytes;
        written += host.write(1 + this.random.int(count), workload);
        this.bytes += host.writtenBytes - before;
        if (this.random.chance(0.3)) host.flush();
      }
    } catch (error) {
      if (!(error instanceof ProcessDied)) throw error;
    }
    this.records += written;
    return written;
  }

  newVolume(): string {
    this.#volumes += 1;
    return `v${this.#volumes}`;
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/** For who reads of a hang. */
export function describe({ name, group, follower }: FleetMember): string {
  if (!group) return `${name} has no group`;
  const { released, applied, durable, newest } = group.watermarks;
  const cursors = group.followers
    .list()
    .map((cursor) => `${cursor.name} ${cursor.state} ${cursor.received}`);
  const conditions = group.conditions.list().map(({ code, message }) => `${code}: ${message}`);
  const { copies = [], shows = 0, resync } = group.follow.state ?? {};
  const contents = `${copies.length} to copy, shows ${shows}${resync ? ', resyncing' : ''}`;
  const upstream = follower ? `${follower.state} ${follower.failure?.message ?? ''}` : 'nobody';
  const marks = [released, applied, durable, newest].join(' ');
  return `${name} (${group.state} ${group.role}, ${marks}, follows ${upstream}, ${contents}, followed by ${cursors.join(', ') || 'nobody'}; ${conditions.join('; ')})`;
}
