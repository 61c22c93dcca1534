import { describe, expect, test } from 'vitest';
import type { Group } from '../../../src/group/order/group.ts';
import { prepareSnapshot } from '../../../src/group/volumes/prepared-snapshot.ts';
import { createSnapshot } from '../../../src/group/volumes/snapshot-changes.ts';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import type { MarkerId } from '../../../src/replicator/cuts/cut-member.ts';
import { cutMemberOf } from '../../../src/replicator/cuts/group-cut-member.ts';
import { TestHost } from '../../journal/test-host.ts';
import { type Setting, serve } from '../../journal/volume-under-test.ts';
import type { FleetSystem } from '../fleet.ts';
import { CutFleet, cutName } from './cut-fleet.ts';

function names(group: Group): string[] {
  return group.snapshots.living.map(({ name }) => name);
}

async function held(system: FleetSystem, name: string): Promise<number> {
  const host = new TestHost(system, name);
  await system.until(() => host.session.admitsRead(0, 512));
  const bytes = await host.read(0, 512);
  host.close();
  return typeof bytes === 'number' ? -1 : bytes.readUInt32LE(0);
}

describe('a snapshot behind a marker', () => {
  test('is one instant of all members, wherever they are followed', async () => {
    const cut = await CutFleet.begin('snapshots');
    const { alpha, beta, gamma, delta } = cut;
    await cut.create({ interval: 'off' });
    await cut.pingPong(20);
    const writing = cut.pingPong(60);
    const marked = await beta.verb('cut mark', { cut: cutName, name: 'm', snapshot: 'noon' });
    expect(marked).toMatchObject({ result: 'done', snapshot: 'noon' });
    await writing;
    const a = await held(alpha, 'a/v@noon');
    const b = await held(beta, 'b/v@noon');
    expect(Math.abs(a - b), `${a} and ${b}`).toBeLessThanOrEqual(1);
    expect(Math.max(a, b)).toBeGreaterThanOrEqual(20);
    for (const [primary, group] of [
      [alpha, 'a'],
      [beta, 'b'],
    ] as const) {
      const { cuts, snapshots } = primary.group(group);
      const { cutId } = primary.daemon.composed.cuts.list()[0] ?? { cutId: '' };
      const number = snapshots.living[0]?.number ?? 0;
      expect(cuts.records.newest(cutId)?.number).toBe(number - 1);
    }
    await cut.untilAt('m');
    // The marker of the next snapshot is behind this one.
    await alpha.verb('cut mark', { cut: cutName, name: 'n' });
    await cut.untilAt('n');
    expect([await held(gamma, 'a/v@noon'), await held(delta, 'b/v@noon')]).toEqual([a, b]);
    const again = alpha.verb('cut mark', { cut: cutName, snapshot: 'noon' });
    await expect(again).rejects.toThrow(/noon exists/);
  });

  test('that one member cannot make is made by none', async () => {
    const cut = await CutFleet.begin('no snapshots');
    const { alpha, beta } = cut;
    await cut.create({ interval: 'off' });
    await beta.verb('snapshot create', { snapshot: 'b@noon' });
    const mark = alpha.verb('cut mark', { cut: cutName, snapshot: 'noon' });
    await expect(mark).rejects.toThrow(/b@noon exists/);
    expect(names(alpha.group('a'))).toEqual([]);
    // What was made ready does not stand in the way of others for long.
    await alpha.verb('snapshot create', { snapshot: 'a@later' });
    expect(names(alpha.group('a'))).toEqual(['later']);
    await cut.pingPong(3);
  });
});

const cutId = 'c5'.repeat(16);

class MemberSetting {
  readonly setting: Setting;

  private constructor(setting: Setting) {
    this.setting = setting;
  }

  static async begin(seed: string): Promise<MemberSetting> {
    return new MemberSetting(await serve(seed, { sizeBytes: 4 * MiB }));
  }

  get group(): Group {
    return this.setting.machine.group();
  }

  /** A marker with a snapshot behind it. */
  async mark(sequence: bigint): Promise<MarkerId> {
    const { machine } = this.setting;
    const files = machine.system.filesOf(this.group);
    const wanted = prepareSnapshot(machine.disk, this.group, files, `s${sequence}`, 3000);
    const id: MarkerId = { cutId, epoch: 1n, sequence };
    const prepared = await machine.run(wanted);
    const marker = { ...id, wallTimeMilliseconds: 1, name: '' };
    const number = await machine.run(cutMemberOf(this.group).mark(marker, 50, prepared));
    await machine.until(() => this.group.catalog.number > Number(number));
    return id;
  }
}

describe('a member', () => {
  test('deletes a snapshot whose marker does not count, and keeps one that does', async () => {
    const trial = await MemberSetting.begin('counts');
    const { machine, host } = trial.setting;
    const { group } = trial;
    const member = cutMemberOf(group);
    const first = await trial.mark(1n);
    expect(await machine.run(member.told(first))).toBe(true);
    await machine.run(member.commit(first));
    // Its time was over: it says no.
    await trial.mark(2n);
    await machine.until(() => !names(group).includes('s2'));
    // It said yes, and another one did not.
    const third = await trial.mark(3n);
    expect(await machine.run(member.told(third))).toBe(true);
    member.release(third);
    await machine.until(() => !names(group).includes('s3'));
    // It said yes, and hears nothing more: others may have the commit.
    const fourth = await trial.mark(4n);
    expect(await machine.run(member.told(fourth))).toBe(true);
    await machine.pass(30_000);
    member.release(first);
    expect(names(group)).toEqual(['s1', 's4']);
    expect(await host.write(0, Buffer.alloc(4 * KiB, 1))).toBeGreaterThan(0);
  });

  test('goes on without one that was made ready and never asked for', async () => {
    const trial = await MemberSetting.begin('ready');
    const { machine } = trial.setting;
    const { group } = trial;
    const files = machine.system.filesOf(group);
    const prepared = await machine.run(prepareSnapshot(machine.disk, group, files, 's', 3000));
    const other = createSnapshot(machine.disk, group, files, 't');
    await machine.run(other);
    expect(names(group)).toEqual(['t']);
    expect(() => prepared.stamp()).toThrow('too long ago');
    prepared.giveUp();
    const twice = prepareSnapshot(machine.disk, group, files, 't', 3000);
    await expect(machine.run(twice)).rejects.toThrow('t exists');
  });
});
