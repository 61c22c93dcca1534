import { describe, expect, test } from 'vitest';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import { TestHost } from '../../journal/test-host.ts';
import type { FleetSystem } from '../fleet.ts';
import { CutFleet, cutName, isLater } from './cut-fleet.ts';

function codesOf(system: FleetSystem, group: string): string[] {
  return system.status(group).conditions.map(({ code }) => code);
}

function nextOf(system: FleetSystem, group: string, wanted: string): string | undefined {
  return system.status(group).conditions.find(({ code }) => code === wanted)?.nextCommand;
}

/** The parameters of the `cut create` in a command line. */
function typed(command: string): object {
  const words = command.slice(command.indexOf('cut create ')).split(' ');
  const values = (name: string): string[] =>
    words.flatMap((word, at) => (words[at - 1] === `--${name}` ? [word] : []));
  return {
    cut: words[2],
    member: values('member'),
    targets: values('targets'),
    interval: values('interval')[0],
    roundLimit: values('round-limit')[0],
  };
}

/** So much that the journal of the group's primary cannot keep it for somebody who is away. */
async function writeMuch(system: FleetSystem, name: string, bytes: number): Promise<void> {
  const host = new TestHost(system, name);
  for (let written = 0; written < bytes; written += 120 * KiB) {
    await host.write(4 * KiB, Buffer.alloc(120 * KiB, 1 + (written % 255)));
  }
  host.close();
}

/** Delta is away, so gamma is held; every start of it takes a segment of its journal. */
async function fillWithRestarts(cut: CutFleet): Promise<void> {
  const { gamma, delta } = cut;
  await cut.create();
  await cut.pingPong(20);
  await cut.untilLevel();
  delta.kill();
  for (let starts = 0; starts < 12 && gamma.group('a').state === 'normal'; starts += 1) {
    await cut.pingPong(10);
    await cut.pass(700);
    gamma.kill();
    await gamma.start();
  }
  expect(gamma.group('a').state).toBe('abnormal');
}

describe('a member', () => {
  test('that answers after the limit holds hosts no longer than that, and there is no marker', async () => {
    const cut = await CutFleet.begin('late');
    const { alpha, beta, fleet } = cut;
    await cut.create();
    await cut.untilLevel();
    fleet.links.delay('alpha', 'beta', 400);
    const before = await cut.status();
    await cut.pass(1000);
    const began = fleet.clock.monotonicMilliseconds();
    await cut.pingPong(20);
    expect(fleet.clock.monotonicMilliseconds() - began).toBeLessThan(20 * 60);
    await beta.until(() => codesOf(beta, 'b').includes('cut_without_marker'), 30_000);
    await expect(alpha.verb('cut mark', { cut: cutName })).rejects.toThrow('no marker was made');
    const { rounds } = await cut.status();
    expect(rounds.aborted).toBeGreaterThan(before.rounds.aborted);
    fleet.links.mend('alpha', 'beta');
    await cut.untilLevel();
  });

  test('whose group was handed over, or whose clock jumps', async () => {
    const cut = await CutFleet.begin('handed over');
    const { alpha, beta, gamma, delta, fleet } = cut;
    await cut.create();
    await cut.untilLevel();
    const { newest } = await cut.status();
    fleet.clock.jumpWall(-3_600_000);
    await cut.pass(2000);
    const back = await cut.status();
    expect(isLater(back.newest?.id ?? '', newest?.id ?? ''), 'order is by number').toBe(true);
    expect(Date.parse(back.newest?.at ?? '')).toBeLessThan(Date.parse(newest?.at ?? ''));
    fleet.clock.jumpWall(3_600_000);
    await cut.untilLevel();
    await alpha.verb('handoff', { group: 'a', to: 'gamma' });
    await gamma.until(() => gamma.group('a').role === 'primary', 20_000);
    await beta.until(() => codesOf(beta, 'b').includes('cut_without_marker'), 30_000);
    const { members, targets } = await cut.status();
    expect(members[0]?.obstacle).toBe('group a is secondary, not primary');
    expect(targets[0]?.secondaries[0]).toMatchObject({ state: 'primary' });
    // The list waits where it is, and is told so, until the cut is made anew.
    await delta.until(() => codesOf(delta, 'b').includes('cut_targets_wait'), 30_000);
    const promote = { cut: cutName, targets: 'east' };
    await expect(delta.verb('cut promote', promote)).rejects.toThrow(/gamma/);
    await delta.verb('cut delete', { cut: cutName });
    await delta.until(() => codesOf(delta, 'b').length === 0, 5000);
    await delta.caughtUp(beta, 'b');
  });

  test('that was handed over alone is said where it went, and comes back, or the cut is made anew', async () => {
    const cut = await CutFleet.begin('moved');
    const { alpha, beta, gamma, delta } = cut;
    await cut.create();
    await cut.pingPong(10);
    await cut.untilLevel();
    await alpha.verb('handoff', { group: 'a', to: 'gamma' });
    await gamma.until(() => gamma.group('a').role === 'primary', 20_000);
    const command = `jnbd cut delete orders && jnbd cut create orders --member ${gamma.url}/a --member ${beta.url}/b --targets east=${alpha.url}/a,${delta.url}/b --interval 250ms --round-limit 50ms`;
    for (const system of [alpha, gamma]) {
      await system.until(() => nextOf(system, 'a', 'cut_member_moved') === command, 30_000);
    }
    for (const system of cut.systems) {
      const { nextCommand } = await cut.status(system);
      expect(nextCommand).toBe(command);
    }
    await gamma.verb('handoff', { group: 'a', to: 'alpha' });
    await alpha.until(() => alpha.group('a').role === 'primary', 20_000);
    await cut.untilLevel();
    for (const system of [alpha, gamma]) {
      await system.until(() => codesOf(system, 'a').length === 0, 30_000);
    }
    expect((await cut.status()).nextCommand).toBeNull();
    await alpha.verb('handoff', { group: 'a', to: 'gamma' });
    await gamma.until(() => gamma.group('a').role === 'primary', 20_000);
    await alpha.until(() => nextOf(alpha, 'a', 'cut_member_moved') === command, 30_000);
    await gamma.verb('cut delete', { cut: cutName });
    await gamma.verb('cut create', typed(command));
    await cut.untilLevel();
    for (const system of [alpha, gamma]) {
      await system.until(() => codesOf(system, 'a').length === 0, 30_000);
    }
  });

  test('whose secondary was promoted alone is said where it went, and its list is left out', async () => {
    const cut = await CutFleet.begin('promoted alone');
    const { alpha, beta, gamma, delta } = cut;
    await cut.create();
    await cut.pingPong(10);
    await cut.untilLevel();
    alpha.kill();
    await gamma.verb('promote', { group: 'a', force: true });
    const command = `jnbd cut delete orders && jnbd cut create orders --member ${gamma.url}/a --member ${beta.url}/b --interval 250ms --round-limit 50ms`;
    await gamma.until(() => nextOf(gamma, 'a', 'cut_member_moved') === command, 30_000);
    expect((await cut.status(delta)).nextCommand).toBe(command);
    await gamma.verb('cut delete', { cut: cutName });
    await gamma.verb('cut create', typed(command));
    const marked = await beta.verb('cut mark', { cut: cutName });
    expect(marked).toMatchObject({ result: 'done' });
    await delta.caughtUp(beta, 'b');
  });
});

describe('a secondary', () => {
  test('that was left behind is brought its contents, and goes on with the others then', {
    timeout: 60_000,
  }, async () => {
    const cut = await CutFleet.begin('behind');
    const { alpha, gamma, delta } = cut;
    await cut.create();
    await cut.pingPong(10);
    await cut.untilLevel();
    gamma.kill();
    await writeMuch(alpha, 'a/v', 100 * MiB);
    await cut.pass(2000);
    expect(alpha.status('a').secondaries[0]?.state).toBe('behind');
    const { applied } = delta.group('b').watermarks;
    await gamma.start();
    await gamma.until(
      () => gamma.system.groups.get('a')?.follow.state?.resync !== undefined,
      60_000,
    );
    // While contents come it applies what it gets, and the others stay where they are.
    expect(gamma.group('a').cuts.applyLimit).toBe(Number.POSITIVE_INFINITY);
    await gamma.until(() => {
      const group = gamma.system.groups.get('a');
      return group !== undefined && group.follow.state?.resync === undefined;
    }, 60_000);
    await cut.pingPong(11);
    await cut.untilLevel();
    expect(delta.group('b').watermarks.applied).toBeGreaterThan(applied);
    alpha.kill();
    cut.beta.kill();
    await gamma.verb('cut promote', { cut: cutName, targets: 'east' });
    const [a, b] = await cut.held(gamma, delta);
    expect(Math.abs(a - b), `${a} and ${b}`).toBe(1);
  });

  test('whose journal is full of restarts applies what it may, and opens once it may apply more', async () => {
    const cut = await CutFleet.begin('restarts');
    const { alpha, beta, gamma, delta } = cut;
    await fillWithRestarts(cut);
    const group = gamma.group('a');
    const { applied } = group.watermarks;
    await cut.pass(5000);
    expect([gamma.group('a').state, group.watermarks.applied]).toEqual(['abnormal', applied]);
    const [full, held] = ['journal_full', 'cut_holds_apply'].map((wanted) =>
      gamma.status('a').conditions.find(({ code }) => code === wanted),
    );
    expect(full).toMatchObject({ nextCommand: 'jnbd cut status' });
    expect(held?.nextCommand).toContain('jnbd cut delete orders');
    const { targets } = await cut.status(gamma);
    expect(targets[0]?.secondaries[0]).toMatchObject({ state: 'holding' });
    expect(targets[0]?.secondaries[0]?.text).toContain('journal of group a is full');
    await delta.start();
    await gamma.until(() => gamma.group('a').state === 'normal', 60_000);
    await cut.pingPong(11);
    await cut.untilLevel();
    expect(gamma.group('a').watermarks.applied).toBeGreaterThan(applied);
    alpha.kill();
    beta.kill();
    await gamma.verb('cut promote', { cut: cutName, targets: 'east' });
    const [a, b] = await cut.held(gamma, delta);
    expect(Math.abs(a - b), `${a} and ${b}`).toBe(1);
  });

  test('whose journal is full of restarts opens once the cut is deleted', async () => {
    const cut = await CutFleet.begin('restarts, deleted');
    const { alpha, gamma } = cut;
    await fillWithRestarts(cut);
    expect(await gamma.verb('cut delete', { cut: cutName })).toMatchObject({
      result: 'done',
      unreached: ['delta'],
    });
    await gamma.until(() => gamma.group('a').state === 'normal', 20_000);
    await gamma.caughtUp(alpha, 'a');
    expect(codesOf(gamma, 'a')).toEqual([]);
  });

  test('that keeps back more than its index holds receives on where another one is past its markers', {
    timeout: 60_000,
  }, async () => {
    const cut = await CutFleet.begin('past', 7);
    const { alpha, beta, gamma, delta } = cut;
    const part = 63 * 4096;
    await alpha.verb('volume create', { volume: 'a/w', size: 2400 * part });
    await cut.create();
    await cut.pingPong(10);
    await cut.untilLevel();
    delta.kill();
    await cut.pass(2000);
    const host = new TestHost(alpha, 'a/w');
    for (let i = 0; i < 2400; i += 1) {
      await host.clear('hole', i * part, part);
      // A few at a time: what came in one answer is taken as a whole.
      if (i % 100 === 0) await cut.pass(100);
    }
    await host.flush();
    await gamma.until(() => gamma.group('a').cuts.isIndexFull, 30_000);
    await gamma.until(() => codesOf(gamma, 'a').includes('cut_holds_apply'), 10_000);
    await writeMuch(beta, 'b/v', 100 * MiB);
    await cut.pass(2000);
    expect(beta.status('b').secondaries[0]?.state).toBe('behind');
    const { durable } = gamma.group('a').watermarks;
    expect(durable).toBeLessThan(alpha.group('a').watermarks.durable);
    await delta.start();
    await cut.untilLevel();
    await gamma.until(() => !codesOf(gamma, 'a').includes('cut_holds_apply'), 30_000);
    expect(gamma.group('a').watermarks.durable).toBeGreaterThan(durable);
  });

  test('whose journal fills because another one is away says so', { timeout: 60_000 }, async () => {
    const cut = await CutFleet.begin('fills');
    const { beta, gamma, delta } = cut;
    await cut.create();
    await cut.untilLevel();
    gamma.kill();
    await writeMuch(beta, 'b/v', 40 * MiB);
    await delta.until(() => codesOf(delta, 'b').includes('cut_holds_apply'), 30_000);
    const condition = delta.status('b').conditions.find(({ code }) => code === 'cut_holds_apply');
    expect(condition?.nextCommand).toContain('jnbd cut delete orders');
    await gamma.start();
    await cut.untilLevel();
    await delta.until(() => !codesOf(delta, 'b').includes('cut_holds_apply'), 60_000);
  });
});
