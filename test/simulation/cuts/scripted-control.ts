import { must } from '../../../src/platform/assert.ts';
import type { CutControl, CutWorld } from './cut-control.ts';
import { CutController, cutId } from './cut-controller.ts';
import { CutMessages } from './cut-messages.ts';
import { cutGroup, type Target } from './cut-system.ts';
import { CutTargets, newestOf, selectable } from './cut-targets.ts';

const intervals = [5, 20, 20];
const settleMilliseconds = 60_000;

/** Controllers that know the order of messages and nothing else: markers come fast, and anything may be lost. */
export class ScriptedControl implements CutControl {
  readonly hosts = 6;
  readonly pausesMilliseconds = [20, 60, 150];
  readonly #world: CutWorld;
  readonly #messages: CutMessages;
  readonly #targets: CutTargets;
  readonly #controllers: CutController[] = [];
  readonly #allowed: number[] = [];

  constructor(world: CutWorld) {
    this.#world = world;
    const { fleet, counter, pairs } = world;
    this.#messages = new CutMessages(fleet.clock, fleet.random.fork('messages'));
    this.#targets = new CutTargets({
      clock: fleet.clock,
      counter,
      messages: this.#messages,
      secondaries: pairs.map(({ secondary }) => secondary),
      selected: (target) => this.#selected(target),
    });
  }

  begin(): Promise<void> {
    for (const { secondary } of this.#world.pairs) {
      const applied = secondary.group?.watermarks.applied ?? 0;
      secondary.promises.through = applied;
      this.#allowed.push(applied);
      secondary.member?.holdApplyAt(BigInt(applied));
    }
    this.#addController();
    return Promise.resolve();
  }

  allowed(at: number): number {
    return this.#allowed[at] ?? 0;
  }

  beforeCrash(): void {
    // What was selected it was told of.
  }

  async disturb(): Promise<void> {
    const { random, counter, note } = this.#world;
    const what = random.pick([
      'weather',
      'weather',
      'controller',
      'controllers',
      'targets',
      'silence',
    ] as const);
    note(what);
    if (what === 'weather') {
      this.#messages.weather = {
        lost: random.pick([0, 0, 20]),
        twice: random.pick([0, 150]),
        late: random.pick([0, 0, 60]),
      };
    }
    if (what === 'controller') {
      this.#killControllers();
      this.#addController();
      counter.count('controller replaced');
    }
    if (what === 'controllers' && this.#controllers.length < 3) {
      this.#addController();
      counter.count('controllers at once');
    }
    if (what === 'targets') this.#targets.replace();
    if (what === 'silence') await this.#silence();
  }

  /** To the controllers; its hosts reach it. */
  async #silence(): Promise<void> {
    const { random, counter, pairs, pass } = this.#world;
    const { primary, secondary } = random.pick(pairs);
    const node = random.pick([primary, primary, secondary]);
    counter.count('member silent');
    this.#messages.cutOff.add(node);
    await pass(random.fraction() * 200);
    this.#messages.cutOff.delete(node);
  }

  async settle(): Promise<boolean> {
    const { counter, pairs, until } = this.#world;
    this.#messages.weather = { lost: 0, twice: 0, late: 0 };
    this.#killControllers();
    this.#addController();
    const before = counter.of('target moved');
    const isMoving = (): boolean => counter.of('target moved') > before + pairs.length;
    if (!(await until(isMoving, settleMilliseconds))) return false;
    this.#targets.stop();
    return true;
  }

  async promote(): Promise<readonly number[]> {
    this.#killControllers();
    await this.#world.pass(50);
    const secondaries = this.#world.pairs.map(({ secondary }) => secondary);
    const lists = secondaries.map((node) => must(node.member, node.name).markers(cutId));
    const begun = newestOf(secondaries.map(({ promises }) => promises.next));
    const { numbers } = must(newestOf([begun, ...selectable(lists)]), 'a marker can be selected');
    for (const [at, { system }] of secondaries.entries()) {
      await system.verb('promote', { group: cutGroup, at: String(numbers[at]), force: true });
    }
    return numbers;
  }

  #addController(): void {
    const { fleet, counter, pairs, random } = this.#world;
    this.#controllers.push(
      new CutController({
        clock: fleet.clock,
        counter,
        messages: this.#messages,
        members: pairs.map(({ primary }) => primary),
        intervalMilliseconds: random.pick(intervals),
        committed: ({ epoch, sequence }, numbers) =>
          this.#world.check(`marker ${epoch}.${sequence}, which was committed`, numbers),
      }),
    );
  }

  #killControllers(): void {
    for (const controller of this.#controllers.splice(0)) controller.die();
  }

  #selected({ epoch, sequence, numbers }: Target): void {
    this.#world.check(`marker ${epoch}.${sequence}, which was selected`, numbers);
    for (const [at, number] of numbers.entries()) {
      this.#allowed[at] = Math.max(this.allowed(at), number);
    }
  }
}
