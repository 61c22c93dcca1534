import { must } from '../../../src/platform/assert.ts';
import type { Fleet } from '../../replicator/fleet.ts';
import type { FaultCounter } from '../faults.ts';
import type { SimulatedRandom } from '../simulated-random.ts';
import type { CutControl, CutWorld } from './cut-control.ts';
import { CutHosts } from './cut-hosts.ts';
import { CutLedger } from './cut-ledger.ts';
import { cutVolumeBytes, type CutNode, type CutPair } from './cut-system.ts';
import { DaemonControl } from './daemon-control.ts';
import { ScriptedControl } from './scripted-control.ts';

export class CutFailed extends Error {}

const logLinesMax = 200;

/** The systems, their hosts, who controls the cut, and what goes wrong. Everything comes from the seed. */
export class CutCampaign implements CutWorld {
  readonly fleet: Fleet;
  readonly pairs: readonly CutPair[];
  readonly counter: FaultCounter;
  readonly random: SimulatedRandom;
  readonly ledger: CutLedger;
  readonly hosts: CutHosts;
  readonly control: CutControl;
  readonly log: string[] = [];
  readonly #isVerbose: boolean;
  readonly #violations: string[] = [];
  #isHeld = false;

  constructor(
    fleet: Fleet,
    pairs: readonly CutPair[],
    parts: {
      readonly counter: FaultCounter;
      readonly isVerbose: boolean;
      readonly isReal: boolean;
    },
  ) {
    this.fleet = fleet;
    this.pairs = pairs;
    this.counter = parts.counter;
    this.#isVerbose = parts.isVerbose;
    this.random = fleet.random.fork('steps');
    this.ledger = new CutLedger(pairs.length);
    this.hosts = new CutHosts({
      clock: fleet.clock,
      random: fleet.random.fork('hosts'),
      counter: this.counter,
      ledger: this.ledger,
      pairs,
    });
    this.control = parts.isReal ? new DaemonControl(this) : new ScriptedControl(this);
  }

  /** The target list holds from here on. */
  async begin(): Promise<void> {
    await this.control.begin();
    this.#isHeld = true;
    const { hosts } = this.control;
    this.hosts.start(hosts, Math.floor(cutVolumeBytes / 512 / hosts));
  }

  readonly note = (text: string): void => {
    const line = `${this.fleet.clock.monotonicMilliseconds().toFixed(3)} ${text}`;
    this.log.push(line);
    if (this.log.length > logLinesMax) this.log.shift();
    if (this.#isVerbose) console.log(line);
  };

  fail(text: string): never {
    throw new CutFailed(text);
  }

  /** False: it took longer. */
  readonly until = async (isDone: () => boolean, milliseconds = 60_000): Promise<boolean> => {
    const end = this.fleet.clock.monotonicMilliseconds() + milliseconds;
    const isOver = (): boolean => {
      this.#look();
      return isDone() || this.fleet.clock.monotonicMilliseconds() >= end;
    };
    await this.fleet.clock.runUntil(isOver, milliseconds + 60_000);
    return isDone();
  };

  readonly pass = async (milliseconds: number): Promise<void> => {
    let isOver = false;
    this.fleet.clock.after(milliseconds, () => {
      isOver = true;
    });
    await this.until(() => isOver);
  };

  check(what: string, numbers: readonly number[]): void {
    const wrong = this.ledger.inconsistency(numbers);
    if (wrong !== undefined) this.#violations.push(`${what}: ${wrong}`);
  }

  /** After every event. */
  #look(): void {
    for (const [at, { secondary }] of this.pairs.entries()) {
      const { group } = secondary;
      if (!this.#isHeld || group?.role !== 'secondary') continue;
      const { applied } = group.watermarks;
      const allowed = this.control.allowed(at);
      if (applied > allowed) {
        this.#violations.push(`${secondary.name} applied ${applied}, and its target is ${allowed}`);
      }
    }
    const [first] = this.#violations;
    if (first !== undefined) this.fail(first);
  }

  // --- what goes wrong

  async step(): Promise<void> {
    const { random } = this;
    const what = random.pick([
      'nothing',
      'control',
      'control',
      'control',
      'member',
      'secondary',
      'both',
      'slow',
    ] as const);
    if (what === 'control') await this.control.disturb();
    if (what === 'member' || what === 'both') await this.#restartMember();
    if (what === 'secondary' || what === 'both') await this.#restartSecondary();
    if (what === 'slow') this.#slowSyncs();
    await this.pass(random.pick(this.control.pausesMilliseconds));
  }

  #crash(node: CutNode, what: string): Promise<void> {
    const isPower = this.random.chance(0.4);
    this.counter.count(`${what} ${isPower ? 'lost power' : 'killed'}`);
    this.note(`${node.name} ${isPower ? 'loses power' : 'is killed'}`);
    this.control.beforeCrash();
    node.crash(isPower);
    return this.pass(this.random.fraction() * 100);
  }

  async #restartMember(): Promise<void> {
    const system = this.random.int(this.pairs.length);
    const { primary } = must(this.pairs[system], 'a system');
    await this.#crash(primary, 'member');
    await primary.start();
    this.ledger.restarted(system, must(primary.group, 'its group').watermarks.newest);
  }

  async #restartSecondary(): Promise<void> {
    const { secondary } = this.random.pick(this.pairs);
    await this.#crash(secondary, 'secondary');
    await secondary.start();
  }

  #slowSyncs(): void {
    const { random, counter, pairs } = this;
    const { primary } = random.pick(pairs);
    this.note(`${primary.name} syncs slowly`);
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
