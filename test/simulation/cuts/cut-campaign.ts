import type { MarkerId } from '../../../src/replicator/cuts/cut-member.ts';
import { must } from '../../../src/platform/assert.ts';
import type { Fleet } from '../../replicator/fleet.ts';
import type { FaultCounter } from '../faults.ts';
import type { SimulatedRandom } from '../simulated-random.ts';
import { CutController } from './cut-controller.ts';
import { CutHosts } from './cut-hosts.ts';
import { CutLedger } from './cut-ledger.ts';
import { CutMessages } from './cut-messages.ts';
import { cutVolumeBytes, type CutNode, type CutPair, type Target } from './cut-system.ts';
import { CutTargets } from './cut-targets.ts';

export class CutFailed extends Error {}

const hosts = 6;
const intervals = [5, 20, 20];
const logLinesMax = 200;

/** The systems, their hosts and controllers, and what goes wrong with them. Everything comes from the seed. */
export class CutCampaign {
  readonly fleet: Fleet;
  readonly pairs: readonly CutPair[];
  readonly counter: FaultCounter;
  readonly random: SimulatedRandom;
  readonly ledger: CutLedger;
  readonly messages: CutMessages;
  readonly hosts: CutHosts;
  readonly targets: CutTargets;
  readonly log: string[] = [];
  readonly #controllers: CutController[] = [];
  readonly #isVerbose: boolean;
  /** Of each secondary: what it may have applied. */
  readonly #allowed = new Map<CutNode, number>();
  readonly #violations: string[] = [];

  constructor(fleet: Fleet, pairs: readonly CutPair[], counter: FaultCounter, isVerbose: boolean) {
    this.fleet = fleet;
    this.pairs = pairs;
    this.counter = counter;
    this.#isVerbose = isVerbose;
    this.random = fleet.random.fork('steps');
    this.ledger = new CutLedger(pairs.length);
    const { clock } = fleet;
    this.messages = new CutMessages(clock, fleet.random.fork('messages'));
    this.hosts = new CutHosts({
      clock,
      random: fleet.random.fork('hosts'),
      counter,
      ledger: this.ledger,
      pairs,
    });
    this.targets = new CutTargets({
      clock,
      counter,
      messages: this.messages,
      secondaries: pairs.map(({ secondary }) => secondary),
      selected: (target) => this.#selected(target),
    });
  }

  /** The target list holds from here on. */
  begin(): void {
    for (const { secondary } of this.pairs) {
      const { group, member } = secondary;
      const applied = group?.watermarks.applied ?? 0;
      secondary.promises.through = applied;
      this.#allowed.set(secondary, applied);
      member?.holdApplyAt(BigInt(applied));
    }
    this.hosts.start(hosts, Math.floor(cutVolumeBytes / 512 / hosts));
    this.addController();
  }

  note(text: string): void {
    const line = `${this.fleet.clock.monotonicMilliseconds().toFixed(3)} ${text}`;
    this.log.push(line);
    if (this.log.length > logLinesMax) this.log.shift();
    if (this.#isVerbose) console.log(line);
  }

  fail(text: string): never {
    throw new CutFailed(text);
  }

  addController(): void {
    const { fleet, counter, messages } = this;
    this.#controllers.push(
      new CutController({
        clock: fleet.clock,
        counter,
        messages,
        members: this.pairs.map(({ primary }) => primary),
        intervalMilliseconds: this.random.pick(intervals),
        committed: (id, numbers) => this.#committed(id, numbers),
      }),
    );
  }

  killControllers(): void {
    for (const controller of this.#controllers.splice(0)) controller.die();
  }

  /** False: it took longer. */
  async until(isDone: () => boolean, milliseconds = 60_000): Promise<boolean> {
    const end = this.fleet.clock.monotonicMilliseconds() + milliseconds;
    const isOver = (): boolean => {
      this.#look();
      return isDone() || this.fleet.clock.monotonicMilliseconds() >= end;
    };
    await this.fleet.clock.runUntil(isOver, milliseconds + 60_000);
    return isDone();
  }

  async pass(milliseconds: number): Promise<void> {
    let isOver = false;
    this.fleet.clock.after(milliseconds, () => {
      isOver = true;
    });
    await this.until(() => isOver);
  }

  /** Whoever finds the commit may select it, with these numbers. */
  #committed({ epoch, sequence }: MarkerId, numbers: readonly number[]): void {
    this.#check(`marker ${epoch}.${sequence}, which was committed`, numbers);
  }

  #selected(target: Target): void {
    this.#check(`marker ${target.epoch}.${target.sequence}, which was selected`, target.numbers);
    this.pairs.forEach(({ secondary }, at) => {
      const before = this.#allowed.get(secondary) ?? 0;
      this.#allowed.set(secondary, Math.max(before, target.numbers[at] ?? 0));
    });
  }

  #check(what: string, numbers: readonly number[]): void {
    const wrong = this.ledger.inconsistency(numbers);
    if (wrong !== undefined) this.#violations.push(`${what}: ${wrong}`);
  }

  /** After every event. */
  #look(): void {
    for (const { secondary } of this.pairs) {
      const { group } = secondary;
      if (group?.role !== 'secondary') continue;
      const { applied } = group.watermarks;
      const allowed = this.#allowed.get(secondary) ?? 0;
      if (applied > allowed) {
        this.#violations.push(`${secondary.name} applied ${applied}, and its target is ${allowed}`);
      }
    }
    const [first] = this.#violations;
    if (first !== undefined) this.fail(first);
  }

  // --- what goes wrong

  async step(): Promise<void> {
    const { random, counter } = this;
    const what = random.pick([
      'nothing',
      'nothing',
      'weather',
      'weather',
      'controller',
      'controllers',
      'targets',
      'member',
      'secondary',
      'both',
      'silence',
      'slow',
    ] as const);
    this.note(what);
    if (what === 'weather') this.#changeWeather();
    if (what === 'controller') {
      this.killControllers();
      this.addController();
      counter.count('controller replaced');
    }
    if (what === 'controllers' && this.#controllers.length < 3) {
      this.addController();
      counter.count('controllers at once');
    }
    if (what === 'targets') this.targets.replace();
    if (what === 'member' || what === 'both') await this.#restartMember();
    if (what === 'secondary' || what === 'both') await this.#restartSecondary();
    if (what === 'silence') await this.#silence();
    if (what === 'slow') this.#slowSyncs();
    await this.pass(random.pick([20, 60, 150]));
  }

  #changeWeather(): void {
    const { random } = this;
    this.messages.weather = {
      lost: random.pick([0, 0, 20]),
      twice: random.pick([0, 30]),
      late: random.pick([0, 0, 60]),
    };
  }

  async #restartMember(): Promise<void> {
    const { random } = this;
    const system = random.int(this.pairs.length);
    const { primary } = must(this.pairs[system], 'a system');
    const isPower = random.chance(0.4);
    this.counter.count(isPower ? 'member lost power' : 'member killed');
    this.note(`${primary.name} ${isPower ? 'loses power' : 'is killed'}`);
    primary.crash(isPower);
    await this.pass(random.fraction() * 100);
    await primary.start();
    this.ledger.restarted(system, must(primary.group, 'its group').watermarks.newest);
  }

  async #restartSecondary(): Promise<void> {
    const { random } = this;
    const { secondary } = random.pick(this.pairs);
    const isPower = random.chance(0.4);
    this.counter.count(isPower ? 'secondary lost power' : 'secondary killed');
    this.note(`${secondary.name} ${isPower ? 'loses power' : 'is killed'}`);
    secondary.crash(isPower);
    await this.pass(random.fraction() * 100);
    await secondary.start();
  }

  /** To the controllers; its hosts reach it. */
  async #silence(): Promise<void> {
    const { random } = this;
    const { primary, secondary } = random.pick(this.pairs);
    const node = random.pick([primary, primary, secondary]);
    this.counter.count('member silent');
    this.messages.cutOff.add(node);
    await this.pass(random.fraction() * 200);
    this.messages.cutOff.delete(node);
  }

  #slowSyncs(): void {
    const { random, counter } = this;
    const { primary } = random.pick(this.pairs);
    counter.count('sync slow');
    primary.system.machine.faults.add({
      kind: 'slow',
      operation: 'sync',
      role: 'segment',
      nth: 1,
      times: random.between(1, 5),
      milliseconds: random.pick([10, 45, 90]),
    });
  }
}
