import { describe, expect, test } from 'vitest';
import type { Result } from '../../../src/control/schema.ts';
import { CutFleet, cutName, isLater } from './cut-fleet.ts';

const codes = (group: { conditions: readonly { code: string }[] }): string[] =>
  group.conditions.map(({ code }) => code);

describe('a cut', () => {
  test('has markers that all secondaries go to together, and are promoted at together', async () => {
    const cut = await CutFleet.begin('cut');
    const { alpha, gamma, delta } = cut;
    expect(await cut.create()).toMatchObject({ result: 'done' });
    expect(await cut.create()).toMatchObject({ result: 'already_done' });
    await cut.pingPong(40);
    await cut.untilLevel();
    await cut.pingPong(41);
    const marked = await alpha.verb('cut mark', { cut: cutName, name: 'noon' });
    expect(marked).toMatchObject({ result: 'done', marker: { name: 'noon' } });
    await cut.pingPong(7);
    await cut.untilLevel();
    const status = await cut.status(gamma);
    expect(status).toMatchObject({ controller: 'alpha', rounds: { aborted: 0 } });
    expect(status.members.map(({ obstacle }) => obstacle)).toEqual(['', '']);
    const dry = await delta.verb('cut promote', { cut: cutName, targets: 'east', dryRun: true });
    expect(dry).toMatchObject({
      result: 'would_be_done',
      groups: [{ obstacle: '' }, { obstacle: '' }],
    });
    await cut.pingPong(9);
    cut.alpha.kill();
    cut.beta.kill();
    const promoted = await gamma.verb('cut promote', { cut: cutName, targets: 'east' });
    expect(promoted).toMatchObject({ result: 'done', groups: [{ group: 'a' }, { group: 'b' }] });
    expect([gamma.group('a').role, delta.group('b').role]).toEqual(['primary', 'primary']);
    const [a, b] = await cut.held(gamma, delta);
    expect(Math.max(a, b)).toBeGreaterThanOrEqual(88);
    expect(Math.abs(a - b), `${a} and ${b}`).toBe(1);
    const again = await delta.verb('cut promote', { cut: cutName, targets: 'east' });
    expect(again).toMatchObject({ result: 'already_done' });
    expect(await gamma.verb('cut delete', { cut: cutName })).toMatchObject({
      result: 'done',
      unreached: ['alpha', 'beta'],
    });
  });

  test('is promoted at a marker of a name, and leaves out what stands behind it', async () => {
    const cut = await CutFleet.begin('named');
    const { alpha, beta, gamma, delta } = cut;
    await cut.create({ interval: 'off' });
    await cut.pingPong(10);
    await alpha.verb('cut mark', { cut: cutName, name: 'first' });
    await cut.untilAt('first');
    // The one of another member, and one that its secondaries cannot go to yet.
    cut.fleet.links.cut('delta', 'beta');
    await cut.pingPong(10);
    await beta.verb('cut mark', { cut: cutName, name: 'second' });
    await cut.pingPong(10);
    await cut.pass(3000);
    const promote = { cut: cutName, targets: 'east' };
    await expect(gamma.verb('cut promote', { ...promote, marker: 'second' })).rejects.toThrow(
      /cannot be brought to marker second/,
    );
    expect(await gamma.verb('cut promote', { ...promote, marker: 'first' })).toMatchObject({
      result: 'done',
      marker: { name: 'first' },
    });
    expect(await cut.held(gamma, delta)).toEqual([10, 9]);
    const [branch] = gamma.status('a').branches;
    expect(branch?.newest ?? 0).toBeGreaterThan(branch?.fork ?? 0);
  });
});

describe('a controller', () => {
  test('that dies is followed by another member, in a newer epoch, and then by itself', async () => {
    const cut = await CutFleet.begin('controllers');
    const { alpha, beta, gamma } = cut;
    await cut.create();
    await cut.untilLevel();
    alpha.kill();
    await cut.pass(6000);
    // It is a member too: without it there is no marker, and no host waits.
    const quiet = await cut.status(beta);
    expect(quiet.members[0]?.obstacle).toContain('alpha');
    await beta.until(() => codes(beta.status('b')).includes('cut_without_marker'), 20_000);
    await alpha.start();
    await cut.untilLevel();
    const after = await cut.status(gamma);
    expect(isLater(after.newest?.id ?? '', quiet.newest?.id ?? '')).toBe(true);
    await beta.until(() => !codes(beta.status('b')).includes('cut_without_marker'), 20_000);
  });

  test('that another one took over from makes no marker any more, until that one is gone', async () => {
    const cut = await CutFleet.begin('takeover');
    const { alpha, beta } = cut;
    await cut.create();
    await cut.untilLevel();
    cut.fleet.links.cut('alpha', 'beta', 'silent');
    await cut.pass(10_000);
    cut.fleet.links.mend('alpha', 'beta');
    await cut.untilLevel();
    await cut.pass(6000);
    const controllers = [alpha, beta].filter(
      ({ daemon }) => daemon.composed.cuts.list()[0]?.isController,
    );
    expect(controllers).toHaveLength(1);
    const before = await cut.status();
    await cut.pass(3000);
    const { rounds } = await cut.status();
    expect(rounds.committed - before.rounds.committed).toBeGreaterThan(8);
    expect(rounds.aborted).toBe(before.rounds.aborted);
  });

  test('goes on at once where it is asked for a marker before it would take over', async () => {
    const cut = await CutFleet.begin('asked');
    const { alpha } = cut;
    await cut.create();
    await cut.untilLevel();
    alpha.kill();
    await alpha.start();
    const { marker } = (await alpha.verb('cut mark', { cut: cutName })) as Result<'cut mark'>;
    await cut.pass(1000);
    const { newest } = await cut.status();
    expect(isLater(newest?.id ?? '', marker.id)).toBe(true);
  });

  test('of markers by hand alone is whoever is asked', async () => {
    const cut = await CutFleet.begin('by hand');
    const { alpha, beta, delta } = cut;
    await cut.create({ interval: 'off' });
    const marks = [];
    for (const system of [alpha, beta, delta, alpha]) {
      const { marker } = (await system.verb('cut mark', { cut: cutName })) as {
        marker: { id: string };
      };
      marks.push(marker.id);
    }
    expect(marks.toSorted((a, b) => (isLater(a, b) ? 1 : -1))).toEqual(marks);
    const at = new Date(cut.fleet.clock.wallMilliseconds() + 5000).toISOString();
    const timed = (await beta.verb('cut mark', { cut: cutName, at })) as { marker: { at: string } };
    expect(Date.parse(timed.marker.at) - Date.parse(at)).toBeGreaterThanOrEqual(0);
    expect(Date.parse(timed.marker.at) - Date.parse(at)).toBeLessThan(100);
    await expect(beta.verb('cut mark', { cut: cutName, at })).rejects.toThrow('is over');
    alpha.kill();
    await expect(beta.verb('cut mark', { cut: cutName })).rejects.toThrow(
      /no marker was made in cut orders: system alpha/,
    );
  });
});

describe('a target list', () => {
  test('waits for a secondary that is away, over a restart too, and goes on with it', async () => {
    const cut = await CutFleet.begin('away');
    const { alpha, gamma, delta } = cut;
    await cut.create();
    await cut.pingPong(20);
    await cut.untilLevel();
    delta.kill();
    await cut.pass(1000);
    await cut.pingPong(20);
    await cut.pass(8000);
    const { applied, durable } = gamma.group('a').watermarks;
    expect(durable).toBe(alpha.group('a').watermarks.durable);
    expect(applied).toBeLessThan(durable);
    expect(codes(gamma.status('a'))).toContain('cut_targets_wait');
    await gamma.stop();
    await gamma.start();
    await cut.pass(6000);
    expect(gamma.group('a').watermarks.applied).toBeLessThan(durable);
    await delta.start();
    await cut.untilLevel();
    expect(gamma.group('a').watermarks.applied).toBeGreaterThanOrEqual(durable);
    await gamma.until(() => codes(gamma.status('a')).length === 0, 20_000);
  });

  test('is promoted whole or not at all, and completed where it was begun', async () => {
    const cut = await CutFleet.begin('whole');
    const { gamma, delta } = cut;
    await cut.create();
    await cut.pingPong(20);
    await cut.untilLevel();
    const promote = { cut: cutName, targets: 'east' };
    delta.kill();
    await expect(gamma.verb('cut promote', promote)).rejects.toThrow('system delta');
    expect(gamma.group('a').role).toBe('secondary');
    await delta.start();
    await cut.untilLevel();
    // The other side of the link hears that it is to be prepared, and dies then.
    const promoting = gamma.verb('cut promote', promote).then(
      () => 'done',
      (error: Error) => error.message,
    );
    await cut.fleet.clock
      .runUntil(() => gamma.group('a').role === 'primary', 60_000)
      .catch(() => undefined);
    delta.kill();
    expect(await promoting).toBeTypeOf('string');
    cut.alpha.kill();
    cut.beta.kill();
    await delta.start();
    const result = await delta.verb('cut promote', promote);
    expect(result).toMatchObject({ groups: [{ group: 'a' }, { group: 'b' }] });
    const [a, b] = await cut.held(gamma, delta);
    expect(Math.abs(a - b), `${a} and ${b}`).toBe(1);
  });

  test('is held no more once the cut is deleted', async () => {
    const cut = await CutFleet.begin('deleted');
    const { alpha, gamma } = cut;
    await cut.create({ interval: 'off' });
    await cut.pingPong(20);
    await cut.pass(2000);
    const { newest } = alpha.group('a').watermarks;
    expect(gamma.group('a').watermarks.applied).toBeLessThan(newest);
    expect(await gamma.verb('cut delete', { cut: cutName })).toMatchObject({ result: 'done' });
    await gamma.until(() => gamma.group('a').watermarks.applied === newest, 5000);
    for (const system of cut.systems) expect(system.daemon.composed.cuts.names()).toEqual([]);
    expect(await alpha.verb('cut delete', { cut: cutName })).toMatchObject({
      result: 'already_done',
    });
  });
});

describe('what is no cut', () => {
  test('is refused, and nobody knows of it then', async () => {
    const cut = await CutFleet.begin('refused');
    const { alpha, beta, gamma, delta } = cut;
    const turned = { targets: [`east=${delta.url}/b,${gamma.url}/a`] };
    await expect(cut.create(turned)).rejects.toThrow('in the order of the members');
    const short = { targets: [`east=${gamma.url}/a`] };
    await expect(cut.create(short)).rejects.toThrow('1 secondaries for 2 members');
    const secondary = { member: [`${alpha.url}/a`, `${delta.url}/b`] };
    await expect(cut.create(secondary)).rejects.toThrow('it is secondary there, not primary');
    const twice = { member: [`${alpha.url}/a`, `${alpha.url}/a`] };
    await expect(cut.create(twice)).rejects.toThrow('is named twice');
    await expect(cut.create({ member: [`${alpha.url}/x`, `${beta.url}/b`] })).rejects.toThrow(
      'group x does not exist',
    );
    await expect(cut.create({ interval: '1ms' })).rejects.toThrow('too short');
    delta.kill();
    await expect(cut.create()).rejects.toThrow('delta');
    await delta.start();
    for (const system of cut.systems) expect(system.daemon.composed.cuts.names()).toEqual([]);
    await cut.create();
    await expect(cut.create({ interval: '2s' })).rejects.toThrow('is another one');
    await expect(cut.create({ cut: 'others' })).rejects.toThrow(
      'it is in a target list of cut orders already',
    );
  });
});
