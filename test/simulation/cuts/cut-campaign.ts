import { must } from '../../../src/platform/assert.ts';
import type { Fleet } from '../../replicator/fleet.ts';
import type { FaultCounter } from '../faults.ts';
import type { SimulatedRandom } from '../simulated-random.ts';
import { CutHosts } from './cut-hosts.ts';
import { CutLedger } from './cut-ledger.ts';
import { createCut, cutVolumeBytes, type CutNode, type CutPair } from './cut-system.ts';
import { CutWatch } from './cut-watch.ts';

export class CutFailed extends Error {}

const hosts = 6;
const intervals = ['10ms', '20ms', '20ms'];
const logLinesMax = 200;
const quietMilliseconds = 40;
const longMilliseconds = 150;
const startMilliseconds = 60_000;

/** How a verb ended; undefined: whoever was asked died. */
export type VerbOutcome = { readonly value: unknown } | { readonly error: unknown } | undefined;

/** The systems, their cut and their hosts, and how time passes for them. Everything comes from the seed. */
export class CutCampaign {
  readonly fleet: Fleet;
  readonly pairs: readonly CutPair[];
  readonly counter: FaultCounter;
  readonly random: SimulatedRandom;
  readonly ledger: CutLedger;
  readonly hosts: CutHosts;
  readonly watch: CutWatch;
  readonly log: string[] = [];
  readonly #isVerbose: boolean;
  /** What is waited for takes seconds: hosts need not be busy all the time. */
  #isLong = false;

  constructor(fleet: Fleet, pairs: readonly CutPair[], counter: FaultCounter, isVerbose: boolean) {
    this.fleet = fleet;
    this.pairs = pairs;
    this.counter = counter;
    this.#isVerbose = isVerbose;
    this.random = fleet.random.fork('steps');
    this.ledger = new CutLedger(pairs.length);
    const { clock } = fleet;
    const fail = (text: string): never => this.fail(text);
    this.watch = new CutWatch({ pairs, clock, counter, ledger: this.ledger, fail });
    this.hosts = new CutHosts({
      clock,
      random: fleet.random.fork('hosts'),
      counter,
      ledger: this.ledger,
      pairs,
      isQuiet: () => this.#isLong || this.watch.isQuietFor(quietMilliseconds),
    });
  }

  get nodes(): readonly CutNode[] {
    return this.pairs.flatMap(({ primary, secondary }) => [primary, secondary]);
  }

  async begin(): Promise<void> {
    const { primary } = must(this.pairs[0], 'a pair');
    const asked = this.random.pick([primary, primary, this.random.pick(this.nodes)]);
    const interval = this.random.pick(intervals);
    this.note(`cut create at ${asked.name}, every ${interval}, over ${this.pairs.length} pairs`);
    await createCut(asked, this.pairs, interval);
    this.hosts.start(hosts, Math.floor(cutVolumeBytes / 512 / hosts));
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

  /** False: it took longer. */
  async until(isDone: () => boolean, milliseconds = 60_000): Promise<boolean> {
    const begin = this.fleet.clock.monotonicMilliseconds();
    const isOver = (): boolean => {
      this.watch.look();
      const passed = this.fleet.clock.monotonicMilliseconds() - begin;
      this.#isLong = passed > longMilliseconds;
      return isDone() || passed >= milliseconds;
    };
    await this.fleet.clock.runUntil(isOver, milliseconds + 60_000);
    this.#isLong = false;
    return isDone();
  }

  async pass(milliseconds: number): Promise<void> {
    let isOver = false;
    this.fleet.clock.after(milliseconds, () => {
      isOver = true;
    });
    await this.until(() => isOver, milliseconds + 1000);
  }

  /** As it goes on; whoever asked may look at it later. */
  ask(node: CutNode, name: string, input: object): { outcome: VerbOutcome; isOver: boolean } {
    const asked: { outcome: VerbOutcome; isOver: boolean } = { outcome: undefined, isOver: false };
    const path = `/verbs/${name.replaceAll(' ', '-')}`;
    const call = { signal: new AbortController().signal, progress: () => undefined };
    const end = (outcome: VerbOutcome): void => {
      asked.outcome = outcome;
      asked.isOver = true;
    };
    node.system.daemon.composed.control.change(path, input, call).then(
      (value) => end({ value }),
      (error: unknown) => end({ error }),
    );
    return asked;
  }

  crash(node: CutNode, isPower: boolean): void {
    const isMember = this.pairs.some(({ primary }) => primary === node);
    const who = isMember ? 'member' : 'secondary';
    this.counter.count(isPower ? `${who} lost power` : `${who} killed`);
    this.note(`${node.name} ${isPower ? 'loses power' : 'is killed'}`);
    this.watch.dies(node);
    node.crash(isPower);
  }

  /** Hosts can write to it again, if it is a primary. */
  async restart(node: CutNode): Promise<void> {
    node.begin();
    const at = this.pairs.findIndex(({ primary }) => primary === node);
    const isThere = (): boolean => node.group?.state === 'normal';
    const isReady = (): boolean => isThere() && (at < 0 || node.group?.refusesWrites === false);
    if (!(await this.until(isReady, startMilliseconds))) this.fail(`${node.name} does not start`);
    this.note(`${node.name} serves again`);
    if (at >= 0) this.ledger.restarted(at, must(node.group, 'its group').watermarks.newest);
  }
}
