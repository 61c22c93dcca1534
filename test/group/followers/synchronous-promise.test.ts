import { strict as assert } from 'node:assert';
import { expect, test } from 'vitest';
import { heardNeeded, type Protection } from '../../../src/group/catalog/protection.ts';
import { configureGroup } from '../../../src/group/system/group-settings.ts';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import type { SimulatedMachine } from '../../journal/simulated-system.ts';
import { serve, type Setting } from '../../journal/volume-under-test.ts';

/** Of a follower's clock, as it counts its lease. */
const driftShare = 0.01;

/** A follower as its source sees it, and what it believes. */
class ModelFollower {
  readonly systemId: number;
  received = 0;
  isConnected = true;
  #confirmedFrom: number | undefined;
  readonly #run: PromiseRun;
  #epoch = 0;

  constructor(run: PromiseRun, systemId: number) {
    this.#run = run;
    this.systemId = systemId;
    this.#again();
  }

  /** Its process is another one: it has what it had, and trusts nothing. */
  restart(): void {
    this.#confirmedFrom = undefined;
    this.#epoch += 1;
    this.#again();
  }

  #again(): void {
    const epoch = this.#epoch;
    const { clock } = this.#run.machine;
    const next = (): void => {
      if (epoch !== this.#epoch) return;
      this.#fetch(epoch);
      clock.after(50 + this.#run.random.int(150), next);
    };
    next();
  }

  #fetch(epoch: number): void {
    const { durable, newest } = this.#run.group()?.watermarks ?? {};
    // Also ahead of the source's own sync.
    const has = this.#run.random.chance(0.3) ? newest : durable;
    if (!this.isConnected || has === undefined) return;
    this.#later(epoch, () => {
      // Often not all of it at once, or nothing.
      const part = this.received + this.#run.random.int(3);
      const most = this.#run.random.chance(0.5) ? has : Math.min(has, part);
      this.received = Math.max(this.received, most);
      this.#say(epoch);
    });
  }

  #say(epoch: number): void {
    const { received, systemId } = this;
    const sentAt = this.#run.now();
    const life = this.#run.life;
    this.#later(epoch, () => {
      const group = this.#run.group();
      if (!group || life !== this.#run.life) return;
      const told = { systemId, received, applied: 0, sent: received, copied: [] };
      group.followers.acknowledge(told);
      if (!group.synchronous.confirms(systemId)) return;
      this.#later(epoch, () => {
        this.#confirmedFrom = Math.max(sentAt, this.#confirmedFrom ?? 0);
      });
    });
  }

  #later(epoch: number, run: () => void): void {
    this.#run.machine.clock.after(this.#run.random.int(120), () => {
      if (epoch === this.#epoch && this.isConnected) run();
    });
  }

  /** The rule by which it promises that it has all, if enough others do; undefined: it does not. */
  get promise(): Extract<Protection, { state: 'protected' }> | undefined {
    const known = this.#run.records.filter(({ number }) => number <= this.received).at(-1);
    if (known?.state !== 'protected' || this.#confirmedFrom === undefined) return undefined;
    if (!known.members.some(({ systemId }) => systemId === this.systemId)) return undefined;
    const until = this.#confirmedFrom + known.timeoutMilliseconds * (1 - driftShare);
    return this.#run.now() < until ? known : undefined;
  }
}

/** One primary with three followers, and everything that was answered to its hosts. */
class PromiseRun {
  readonly setting: Setting;
  readonly random: SimulatedMachine['random'];
  readonly followers: ModelFollower[];
  readonly records: Protection[] = [];
  life = 0;
  answered = 0;
  promises = 0;
  #isUp = true;

  constructor(setting: Setting) {
    this.setting = setting;
    this.random = setting.machine.random.fork('promise');
    this.followers = [7, 8, 9].map((systemId) => new ModelFollower(this, systemId));
  }

  get machine(): SimulatedMachine {
    return this.setting.machine;
  }

  now(): number {
    return this.machine.clock.monotonicMilliseconds();
  }

  group(): ReturnType<SimulatedMachine['group']> | undefined {
    return this.#isUp ? this.machine.group() : undefined;
  }

  /** What hosts were answered by now is with whoever promises that it has all. */
  check(): void {
    const group = this.group();
    if (!group) return;
    const { protection } = group.catalog;
    if (protection && protection.number > (this.records.at(-1)?.number ?? 0)) {
      this.records.push(protection);
    }
    const { gate } = group.replies;
    const shown = gate.isActive ? gate.answerable : group.watermarks.newest;
    this.answered = Math.max(this.answered, shown);
    const promising = this.followers.filter(({ promise }) => promise !== undefined);
    for (const follower of promising) {
      const rule = follower.promise;
      if (!rule) continue;
      const ids = new Set(rule.members.map(({ systemId }) => systemId));
      const others = promising
        .filter((each) => each !== follower && ids.has(each.systemId))
        .map(({ received }) => received)
        .sort((a, b) => a - b);
      const needed = heardNeeded(rule);
      if (others.length + 1 < needed) continue;
      const furthest = Math.max(follower.received, ...others.slice(0, needed - 1));
      this.promises += 1;
      const text = `${follower.systemId} by ${JSON.stringify(rule)}: ${furthest} of ${this.answered}`;
      assert.ok(furthest >= this.answered, text);
    }
  }

  async step(): Promise<void> {
    const { random, machine } = this;
    const follower = random.pick(this.followers);
    const group = machine.group();
    const what = random.int(14);
    if (what < 6) this.#write();
    else if (what === 6) follower.isConnected = !follower.isConnected;
    else if (what === 7) for (const each of this.followers) each.isConnected = true;
    else if (what === 8) follower.restart();
    else if (what === 9) await this.#restart();
    else if (what === 10) this.#configure(group);
    else if (what === 11) {
      const isSynchronous = group.followers.find(follower.systemId)?.synchronous ?? false;
      group.followers.setSynchronous(follower.systemId, !isSynchronous || random.chance(0.5));
    }
    await this.#pass(random.int(random.chance(0.2) ? 3000 : 200));
  }

  #configure(group: ReturnType<SimulatedMachine['group']>): void {
    const { random } = this;
    configureGroup(group, {
      synchronous: {
        wait: random.pick(['all', 1, 2] as const),
        timeoutMilliseconds: random.pick([500, 1000, 2000]),
        onLoss: random.chance(0.7) ? 'degrade' : 'stall',
      },
    });
  }

  #write(): void {
    const { session } = this.setting.host;
    if (!session.admit(8 * KiB)) return;
    const number = this.setting.host.writeNow(this.random.int(100) * 4096, new Uint8Array(4096));
    if (number > 0) session.requestDurable(number);
  }

  async #restart(): Promise<void> {
    this.#isUp = false;
    this.life += 1;
    this.machine.kill();
    await this.machine.start();
    this.#isUp = true;
    this.setting.reopen();
  }

  async #pass(milliseconds: number): Promise<void> {
    let isOver = false;
    this.machine.clock.after(milliseconds, () => {
      isOver = true;
    });
    await this.machine.until(() => {
      this.check();
      return isOver;
    });
  }
}

test('whoever promises that it has everything has all that hosts were answered', {
  timeout: 120_000,
}, async () => {
  let promises = 0;
  const states = new Set<string>();
  for (let seed = 0; seed < 25; seed += 1) {
    const setting = await serve(`promise ${seed}`, { sizeBytes: 4 * MiB });
    const { machine } = setting;
    const group = machine.group();
    for (const [systemId, name] of [
      [7, 'b'],
      [8, 'c'],
      [9, 'd'],
    ] as const) {
      group.followers.register(systemId, name, group.watermarks.durable);
      group.followers.setSynchronous(systemId, systemId !== 9);
    }
    const run = new PromiseRun(setting);
    for (let step = 0; step < 120; step += 1) await run.step();
    promises += run.promises;
    for (const { state } of run.records) states.add(state);
  }
  expect([...states].sort()).toEqual(['protected', 'unprotected']);
  expect(promises).toBeGreaterThan(5000);
});
