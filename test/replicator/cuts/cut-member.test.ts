import { describe, expect, test } from 'vitest';
import type { Group } from '../../../src/group/order/group.ts';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import type { CutMember, MarkerId } from '../../../src/replicator/cuts/cut-member.ts';
import { cutMemberOf } from '../../../src/replicator/cuts/group-cut-member.ts';
import { type Setting, serve } from '../../journal/volume-under-test.ts';

const block = 4 * KiB;
const cutId = 'c5'.repeat(16);
const limit = 50;

function marker(sequence: number, epoch = 1) {
  const id: MarkerId = { cutId, epoch: BigInt(epoch), sequence: BigInt(sequence) };
  return { ...id, wallTimeMilliseconds: 1000 + sequence, name: '' };
}

function bytes(fill: number): Uint8Array {
  return new Uint8Array(block).fill(fill);
}

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
  get member(): CutMember {
    return cutMemberOf(this.group);
  }

  /** The marker is durable. */
  async mark(sequence: number, epoch = 1): Promise<bigint> {
    const { machine } = this.setting;
    const number = await machine.run(this.member.mark(marker(sequence, epoch), limit));
    await machine.until(() => this.group.watermarks.durable >= Number(number));
    return number;
  }

  told(id: MarkerId): Promise<boolean> {
    return this.setting.machine.run(this.member.told(id));
  }

  commit(sequence: number): Promise<void> {
    return this.setting.machine.run(this.member.commit(marker(sequence)));
  }

  async restart(): Promise<void> {
    const { machine } = this.setting;
    machine.kill();
    await machine.start();
    this.setting.reopen();
  }
}

describe('a member of a cut', () => {
  test('holds what is numbered behind the marker until it is told, and then commits', async () => {
    const trial = await MemberSetting.begin('holds');
    const { machine, host } = trial.setting;
    const before = await host.write(0, bytes(1));
    const number = Number(await trial.mark(1));
    expect(number).toBeGreaterThan(before);
    expect(host.session.answerable).toBe(number);
    const behind = await host.write(block, bytes(2));
    const cleared = await host.clear('hole', 2 * block, block);
    host.session.requestDurable(cleared);
    await machine.pass(limit / 2);
    expect(host.session.durable).toBe(cleared);
    expect(host.session.answerable).toBe(number);
    expect(host.session.plainThrough).toBe(number);
    expect(host.session.admitsRead(block, 512)).toBe(false);
    expect(host.session.admitsRead(2 * block, 512)).toBe(false);
    expect(host.session.admitsRead(0, block)).toBe(true);
    expect(trial.group.replies.gate.sendable).toBe(number);
    expect(await trial.told(marker(1))).toBe(true);
    expect(host.session.answerable).toBe(cleared);
    expect(behind).toBeLessThan(cleared);
    expect(host.session.plainThrough).toBe(Number.POSITIVE_INFINITY);
    expect(host.session.admitsRead(block, 512)).toBe(true);
    expect(trial.group.replies.gate.sendable).toBe(cleared);
    expect(trial.member.heldMilliseconds()).toBeGreaterThanOrEqual(limit / 2);
    expect(trial.member.markers(cutId)).toEqual([
      { ...marker(1), number: BigInt(number), isCommitted: false },
    ]);
    await trial.commit(1);
    await trial.commit(1);
    expect(trial.member.markers(cutId)).toMatchObject([{ isCommitted: true }]);
    expect(trial.group.watermarks.newest).toBe(cleared + 1);
  });

  test('lets go when it is told, and says yes once its marker is durable: not where the power is lost before', async () => {
    const trial = await MemberSetting.begin('power');
    const { machine, host } = trial.setting;
    const number = Number(await machine.run(trial.member.mark(marker(1), limit)));
    expect(trial.group.watermarks.durable).toBeLessThan(number);
    const answer = trial.member.told(marker(1));
    expect(host.session.plainThrough).toBe(Number.POSITIVE_INFINITY);
    expect(await machine.run(answer)).toBe(true);
    expect(trial.group.watermarks.durable).toBeGreaterThanOrEqual(number);

    await machine.run(trial.member.mark(marker(2), limit));
    let said: boolean | undefined;
    void trial.member.told(marker(2)).then((isHeld) => {
      said = isHeld;
    });
    machine.losePower();
    await machine.start();
    await machine.pass(1000);
    expect(said).not.toBe(true);
    expect(trial.member.markers(cutId).some(({ isCommitted }) => isCommitted)).toBe(false);
  });

  test('lets go when its time is over, and says no for ever', async () => {
    const trial = await MemberSetting.begin('time');
    const { machine, host } = trial.setting;
    await trial.mark(1);
    const behind = await host.write(0, bytes(1));
    host.session.requestDurable(behind);
    await machine.pass(limit - 10);
    expect(host.session.answerable).toBeLessThan(behind);
    await machine.pass(20);
    expect(host.session.answerable).toBe(behind);
    expect(await trial.told(marker(1))).toBe(false);
    await expect(trial.commit(1)).rejects.toMatchObject({ code: 'cut_round_lost' });
    expect(trial.member.markers(cutId)).toMatchObject([{ isCommitted: false }]);
  });

  test('lets go when it is released, and knows only the newest round', async () => {
    const trial = await MemberSetting.begin('released');
    const { host } = trial.setting;
    await trial.mark(1);
    trial.member.release(marker(7));
    expect(host.session.plainThrough).not.toBe(Number.POSITIVE_INFINITY);
    trial.member.release(marker(1));
    expect(host.session.plainThrough).toBe(Number.POSITIVE_INFINITY);
    expect(await trial.told(marker(1))).toBe(false);
    await trial.mark(2);
    const third = Number(await trial.mark(3));
    expect(host.session.answerable).toBe(third);
    expect(await trial.told(marker(2))).toBe(false);
    expect(await trial.told(marker(3))).toBe(true);
    expect(await trial.told(marker(3))).toBe(true);
  });

  test('holds for the cut that wants most, of several', async () => {
    const trial = await MemberSetting.begin('several');
    const { machine, host } = trial.setting;
    const other = { ...marker(1), cutId: 'dd'.repeat(16) };
    const first = Number(await trial.mark(1));
    const second = Number(await machine.run(trial.member.mark(other, limit)));
    await machine.until(() => trial.group.watermarks.durable >= second);
    expect(host.session.answerable).toBe(first);
    expect(await trial.told(marker(1))).toBe(true);
    expect(host.session.answerable).toBe(second);
    expect(await trial.told(other)).toBe(true);
    expect(host.session.plainThrough).toBe(Number.POSITIVE_INFINITY);
  });

  test('takes no marker that is not above those of its journal, over a restart too', async () => {
    const trial = await MemberSetting.begin('stale');
    const { machine } = trial.setting;
    await trial.mark(5);
    const stale = { code: 'cut_epoch_stale' };
    await expect(trial.mark(5)).rejects.toMatchObject(stale);
    // Who asked twice gets no other answer for it.
    expect(await trial.told(marker(5))).toBe(true);
    await trial.restart();
    await expect(trial.mark(4)).rejects.toMatchObject(stale);
    expect(await trial.told(marker(5))).toBe(false);
    await expect(trial.commit(5)).rejects.toMatchObject({ code: 'cut_round_lost' });
    await trial.mark(1, 2);
    await expect(trial.mark(6)).rejects.toMatchObject(stale);
    const { group } = trial;
    group.driver.hurry();
    await machine.until(() => group.driver.checkpoint.applied === group.watermarks.newest);
    await trial.restart();
    expect(trial.group.catalog.markers).toMatchObject([{ epoch: '2', sequence: '1' }]);
    await expect(trial.mark(1, 2)).rejects.toMatchObject(stale);
    expect(trial.member.markers(cutId).at(-1)).toMatchObject({ epoch: 2n, sequence: 1n });
  });

  test('keeps whether a marker was committed when recovery does not find it any more', async () => {
    const trial = await MemberSetting.begin('kept');
    const { machine, host } = trial.setting;
    const number = await trial.mark(1);
    await trial.told(marker(1));
    await trial.commit(1);
    await host.write(0, bytes(1));
    await host.flush();
    const { group } = trial;
    group.driver.hurry();
    await machine.until(() => group.driver.checkpoint.applied === group.watermarks.newest);
    machine.losePower();
    await machine.start();
    expect(trial.member.markers(cutId)).toEqual([{ ...marker(1), number, isCommitted: true }]);
  });

  test('marks nothing where hosts may not write, and answers no once it is no primary', async () => {
    const trial = await MemberSetting.begin('role');
    const { host } = trial.setting;
    await trial.mark(1);
    host.close();
    const { changes, catalog } = trial.group;
    changes.replace({ ...catalog, role: 'secondary' });
    expect(await trial.told(marker(1))).toBe(false);
    await expect(trial.mark(2)).rejects.toMatchObject({ code: 'state_refuses' });
  });
});
