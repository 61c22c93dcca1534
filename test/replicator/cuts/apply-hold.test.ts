import { describe, expect, test } from 'vitest';
import { assert } from '../../../src/platform/assert.ts';
import { inspectJournal } from '../../../src/journal/inspect.ts';
import { MiB } from '../../../src/platform/limits.ts';
import { cutMemberOf } from '../../../src/replicator/cuts/group-cut-member.ts';
import type { FleetSystem } from '../fleet.ts';
import { HistoryTrial, volumeBytes } from '../roles/history-trial.ts';

const cutId = 'c5'.repeat(16);

/** Rounds of one member, which is asked by nobody else. */
class Rounds {
  readonly #trial: HistoryTrial;
  #sequence = 0n;

  constructor(trial: HistoryTrial) {
    this.#trial = trial;
  }

  /** A committed marker; its number. */
  async round(): Promise<number> {
    const { alpha, fleet } = this.#trial;
    this.#sequence += 1n;
    const id = { cutId, epoch: 1n, sequence: this.#sequence };
    const member = cutMemberOf(alpha.group());
    const marker = { ...id, wallTimeMilliseconds: fleet.clock.wallMilliseconds(), name: '' };
    const number = await alpha.run(member.mark(marker, 50));
    assert(await alpha.run(member.told(id)), 'it held');
    await alpha.run(member.commit(id));
    return Number(number);
  }
}

/** What the files of its volume hold, whatever waits to be applied. */
function expectApplied(trial: HistoryTrial, system: FleetSystem, number: number): void {
  const { applied } = system.group().watermarks;
  expect(applied).toBe(number);
  const volume = system.group().volumes.get('v');
  const found = Buffer.alloc(volumeBytes);
  volume?.file?.readSync(found, 0, volumeBytes, 0);
  const expected = trial.historyOf(trial.alpha).contents('g/v', volumeBytes, number);
  expect(expected.equals(found)).toBe(true);
}

function hold(system: FleetSystem, number: number | undefined): void {
  const member = cutMemberOf(system.group());
  member.holdApplyAt(number === undefined ? undefined : BigInt(number), cutId);
}

async function begin(seed: string) {
  const trial = await HistoryTrial.begin(seed);
  const { alpha } = trial;
  (await trial.write(alpha, 20)).close();
  const beta = await trial.follower('beta', alpha);
  return { trial, alpha, beta, rounds: new Rounds(trial) };
}

/** With an index that `fill` fills, and a journal that it does not. */
async function beginSmall(seed: string) {
  const trial = await HistoryTrial.begin(seed);
  const { alpha } = trial;
  const count = 2400;
  const part = 63 * 4096;
  await alpha.verb('volume create', { volume: 'g/w', size: count * part });
  const beta = await trial.fleet.start('beta');
  // They share the memory of its index.
  for (let i = 0; i < 7; i += 1) {
    await beta.verb('group create', { group: `other${i}`, journalSize: 64 * MiB });
  }
  await beta.verb('follow', { group: 'g', from: alpha.url });
  await beta.caughtUp(alpha);
  // A few at a time: what came in one answer is taken as a whole.
  const fill = async (): Promise<void> => {
    const host = trial.host(alpha, 'g/w');
    for (let i = 0; i < count; i += 1) {
      // Each is so many nodes of the index, and few bytes of the journal.
      await host.clear('hole', i * part, part);
      if (i % 100 > 0) continue;
      await host.flush();
      const { newest } = alpha.group().watermarks;
      await beta.until(() => {
        const { watermarks, cuts } = beta.group();
        return watermarks.durable === newest || cuts.isIndexFull;
      });
    }
    await host.flush();
  };
  return { trial, alpha, beta, rounds: new Rounds(trial), fill };
}

describe('a secondary of a target list', () => {
  test('has the markers of its source, and applies exactly through the one that it is told', async () => {
    const { trial, alpha, beta, rounds } = await begin('through');
    hold(beta, beta.group().watermarks.applied);
    const { applied } = beta.group().watermarks;
    const markers: number[] = [];
    for (let i = 0; i < 3; i += 1) {
      (await trial.write(alpha, 20)).close();
      markers.push(await rounds.round());
    }
    (await trial.write(alpha, 20)).close();
    await beta.until(() => beta.group().watermarks.durable === alpha.group().watermarks.newest);
    await trial.pass(2000);
    expectApplied(trial, beta, applied);
    const known = cutMemberOf(beta.group()).markers(cutId);
    expect(known.slice(-1)).toEqual(cutMemberOf(alpha.group()).markers(cutId));
    expect(known.map(({ number }) => Number(number))).toEqual(markers);
    expect(known.every(({ isCommitted }) => isCommitted)).toBe(true);
    const [first = 0] = markers;
    hold(beta, first);
    await beta.until(() => beta.group().watermarks.applied === first);
    await trial.pass(2000);
    expectApplied(trial, beta, first);
    hold(beta, undefined);
    await beta.caughtUp(alpha);
    expectApplied(trial, beta, alpha.group().watermarks.newest);
    expect(cutMemberOf(beta.group()).markers(cutId)).toEqual([]);
  });

  test.each([false, true])('holds over a restart, power lost: %s', async (isPower) => {
    const { trial, alpha, beta, rounds } = await begin(`restart ${isPower}`);
    hold(beta, beta.group().watermarks.applied);
    (await trial.write(alpha, 20)).close();
    const first = await rounds.round();
    hold(beta, first);
    await beta.until(() => beta.group().watermarks.applied === first);
    beta.group().driver.hurry();
    await beta.until(() => beta.group().driver.checkpoint.applied === first);
    (await trial.write(alpha, 20)).close();
    const second = await rounds.round();
    (await trial.write(alpha, 20)).close();
    await beta.until(() => beta.group().watermarks.durable === alpha.group().watermarks.newest);
    if (isPower) beta.losePower();
    else beta.kill();
    await beta.start();
    await trial.pass(2000);
    expectApplied(trial, beta, first);
    const numbers = cutMemberOf(beta.group())
      .markers(cutId)
      .map(({ number }) => Number(number));
    expect(numbers).toEqual([first, second]);
    hold(beta, second);
    await beta.until(() => beta.group().watermarks.applied === second);
    await trial.pass(2000);
    expectApplied(trial, beta, second);
  });

  test('applies through one in the midst of a table, where no record comes any more', async () => {
    const { trial, alpha, beta, rounds } = await begin('midst');
    hold(beta, beta.group().watermarks.applied);
    const markers: number[] = [];
    for (let i = 0; i < 8; i += 1) {
      (await trial.write(alpha, 20)).close();
      markers.push(await rounds.round());
    }
    (await trial.write(alpha, 20)).close();
    const { newest } = alpha.group().watermarks;
    await beta.until(() => beta.group().watermarks.durable === newest);
    alpha.kill();
    // One table ends at the first, and one at the second.
    for (const number of [markers[4] ?? 0, markers[5] ?? 0, newest - 3]) {
      hold(beta, number);
      await beta.until(() => beta.group().watermarks.applied === number, 20_000);
      await trial.pass(2000);
      expectApplied(trial, beta, number);
      const received = trial.historyOf(alpha).contents('g/v', volumeBytes, newest);
      expect(received.equals(await trial.contents(beta))).toBe(true);
    }
    hold(beta, undefined);
    await beta.until(() => beta.group().watermarks.applied === newest);
    expectApplied(trial, beta, newest);
  });

  test('receives more than its index has room for, and applies it with a later marker', async () => {
    const { trial, alpha, beta, rounds, fill } = await beginSmall('much');
    const { applied } = beta.group().watermarks;
    hold(beta, applied);
    await fill();
    const first = await rounds.round();
    await beta.until(() => beta.group().watermarks.durable === alpha.group().watermarks.newest);
    expect(beta.group().watermarks.applied).toBe(applied);
    expect(beta.group().index.frozenCount).toBeGreaterThan(2);
    hold(beta, first);
    await beta.until(() => beta.group().index.frozenCount === 0);
    expect(beta.group().watermarks.applied).toBeLessThanOrEqual(first);
    const second = await rounds.round();
    await beta.until(() => beta.group().watermarks.durable === alpha.group().watermarks.newest);
    hold(beta, second);
    await beta.until(() => beta.group().watermarks.applied === second);
    await trial.pass(1000);
    expect(beta.group().watermarks.applied).toBe(second);
  });

  test('receives no more than its index has room for, once it has a marker that it can go to', async () => {
    const { trial, alpha, beta, rounds, fill } = await beginSmall('bounded');
    const { applied } = beta.group().watermarks;
    hold(beta, applied);
    const first = await rounds.round();
    await fill();
    const { newest } = alpha.group().watermarks;
    await trial.pass(5000);
    const { index, cuts, watermarks } = beta.group();
    expect(watermarks.applied).toBe(applied);
    expect(watermarks.durable).toBeLessThan(newest);
    expect(index.frozenCount).toBeLessThanOrEqual(3);
    expect(cuts.isIndexFull).toBe(true);
    hold(beta, first);
    await beta.until(() => watermarks.durable === newest);
    expect(watermarks.applied).toBe(first);
    expect(cuts.isIndexFull).toBe(false);
    const last = await rounds.round();
    hold(beta, last);
    await beta.until(() => watermarks.applied === last);
  });

  test('is promoted exactly there, and knows the marker then', async () => {
    const { trial, alpha, beta, rounds } = await begin('promoted');
    hold(beta, beta.group().watermarks.applied);
    (await trial.write(alpha, 20)).close();
    const first = await rounds.round();
    (await trial.write(alpha, 20)).close();
    await beta.until(() => beta.group().watermarks.durable === alpha.group().watermarks.newest);
    alpha.kill();
    await trial.promote(beta, alpha, String(first));
    const group = beta.group();
    expect(group.role).toBe('primary');
    expect(group.watermarks.newest).toBe(first);
    expect(group.catalog.holdsApply ?? false).toBe(false);
    expect(trial.expected(beta).equals(await trial.contents(beta))).toBe(true);
    expect(cutMemberOf(group).markers(cutId)).toMatchObject([
      { number: BigInt(first), isCommitted: true },
    ]);
    (await trial.write(beta, 20)).close();
    group.driver.applyNow();
    await beta.until(() => group.watermarks.applied === group.watermarks.newest);
  });

  test('is promoted at its newest update, and applies all of it', async () => {
    const { trial, alpha, beta, rounds } = await begin('promoted newest');
    hold(beta, beta.group().watermarks.applied);
    (await trial.write(alpha, 20)).close();
    await rounds.round();
    (await trial.write(alpha, 5)).close();
    await beta.until(() => beta.group().watermarks.durable === alpha.group().watermarks.newest);
    alpha.kill();
    await trial.promote(beta, alpha);
    const group = beta.group();
    await beta.until(() => group.watermarks.applied === group.watermarks.newest);
    expect(trial.expected(beta).equals(await trial.contents(beta))).toBe(true);
  });

  test('passes markers on to who follows it, also with the journal alone', async () => {
    const { trial, alpha, beta, rounds } = await begin('cascade');
    const gamma = await trial.fleet.start('gamma');
    await gamma.verb('follow', { group: 'g', from: beta.url, journalOnly: true });
    await rounds.round();
    (await trial.write(alpha, 5)).close();
    const { newest } = alpha.group().watermarks;
    await gamma.until(() => gamma.group().watermarks.durable === newest);
    expect(gamma.group().cuts.records.list(cutId, newest)).toHaveLength(1);
    const types = new Set<string>();
    gamma.kill();
    const report = inspectJournal(gamma.machine.attach(), '/data', ({ type }) => types.add(type));
    expect(report.damaged).toBe(false);
    expect([...types]).toEqual(expect.arrayContaining(['marker', 'commit']));
  });

  test('is sent nothing that its source holds back', async () => {
    const { trial, alpha, beta } = await begin('sent');
    const member = cutMemberOf(alpha.group());
    const id = { cutId, epoch: 1n, sequence: 1n };
    const marker = { ...id, wallTimeMilliseconds: 0, name: 'held' };
    const number = Number(await alpha.run(member.mark(marker, 5000)));
    const host = trial.host(alpha);
    await trial.writeOne(host);
    host.session.requestDurable(host.session.newest);
    await beta.until(() => beta.group().watermarks.newest === number);
    await trial.pass(1000);
    expect(alpha.group().watermarks.durable).toBe(number + 1);
    expect(beta.group().watermarks.newest).toBe(number);
    expect(await alpha.run(member.told(id))).toBe(true);
    await beta.until(() => beta.group().watermarks.newest === number + 1);
  });
});
