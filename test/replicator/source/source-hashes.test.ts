import { positionOf } from '../../../src/group/catalog/lineage.ts';
import { describe, expect, test } from 'vitest';
import { must } from '../../../src/platform/assert.ts';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import {
  decodeHashAnswer,
  encodeHashRange,
  type HashRange,
  hashesPath,
} from '../../../src/replicator/protocol/hash-wire.ts';
import { encodeCaller } from '../../../src/replicator/protocol/wire.ts';
import { readProblem } from '../../../src/replicator/protocol/wire-json.ts';
import { hashUnitBytes, UnitHashes } from '../../../src/volume/unit-hashes.ts';
import { type Followed, followed } from './followed-system.ts';
import type { MemoryAnswer } from './memory-transport.ts';

const sizeBytes = 4 * MiB;
const reader = { systemId: 7, name: 'reader' };

function ask({ machine, source }: Followed, range: HashRange, volume = 1, caller = reader) {
  const path = hashesPath(machine.group().catalog.groupId, volume);
  const headers = { ...encodeCaller(caller), ...encodeHashRange(range) };
  return source.transport.ask({ path, headers });
}

async function done({ machine }: Followed, answer: MemoryAnswer, milliseconds = 10_000) {
  await machine.until(() => answer.isDone, milliseconds);
  return answer;
}

async function applied({ machine }: Followed): Promise<void> {
  const { watermarks, driver } = machine.group();
  driver.applyNow();
  await machine.until(() => watermarks.applied === watermarks.newest);
  await machine.pass(2);
}

function codeOf({ status, body }: MemoryAnswer): string {
  return readProblem(status, body).error.code;
}

describe('hashes of a volume', () => {
  test('are those of what is applied, and say what they could show', async () => {
    const all = await followed('hashes');
    await all.setting.writeMuch(60, 20 * KiB);
    await all.setting.flush();
    await applied(all);
    const { newest } = all.machine.group().watermarks;
    const position = positionOf(all.machine.group().catalog.lineage, newest);
    const contents = all.setting.history.contents('g/v', sizeBytes, newest);
    for (const [offset, length] of [
      [0, sizeBytes],
      [hashUnitBytes, 3 * hashUnitBytes],
      [sizeBytes - hashUnitBytes, 64 * MiB],
    ] as const) {
      const answer = await done(all, ask(all, { offset, length }));
      expect(answer.status).toBe(200);
      expect(decodeHashAnswer(answer.headers)).toEqual({ sizeBytes, shows: position });
      const end = Math.min(sizeBytes, offset + length);
      const expected = new UnitHashes(end - offset);
      expected.add(contents.subarray(offset, end));
      expect(answer.body.equals(expected.bytes)).toBe(true);
    }
  });

  test('go to registered followers alone, of volumes that are there', async () => {
    const all = await followed('hashes refused');
    const range = { offset: 0, length: sizeBytes };
    const refusals: [ReturnType<typeof ask>, string][] = [
      [ask(all, range, 1, { systemId: 8, name: 'other' }), 'follower_not_found'],
      [ask(all, range, 1, { systemId: 7, name: 'other' }), 'follower_not_found'],
      [ask(all, range, 2), 'volume_not_found'],
      [ask(all, { offset: sizeBytes, length: 1 }), 'protocol_violated'],
      [ask(all, { offset: 1, length: 1 }), 'protocol_violated'],
    ];
    for (const [answer, code] of refusals) {
      expect(codeOf(await done(all, answer))).toBe(code);
    }
  });

  test('are not those of a volume whose contents are not here', async () => {
    const all = await followed('hashes hidden');
    const volume = must(all.machine.group().volumes.get('v'), 'it is there');
    volume.become('abnormal', 'its file is gone');
    all.machine.group().changed();
    await all.machine.pass(10);
    const answer = await done(all, ask(all, { offset: 0, length: sizeBytes }));
    expect(codeOf(answer)).toBe('volume_unreadable');
  });

  test('take no more memory and no more of the disk than a few at a time', async () => {
    const all = await followed('hashes many');
    await all.setting.writeMuch(60, 20 * KiB);
    await all.setting.flush();
    await applied(all);
    const range = { offset: 0, length: sizeBytes };
    const answers = Array.from({ length: 12 }, () => ask(all, range));
    for (const answer of answers) await done(all, answer);
    const refused = answers.filter(({ status }) => status !== 200);
    expect(refused.map(codeOf)).toEqual(Array.from({ length: 4 }, () => 'memory_exhausted'));
    expect((await done(all, ask(all, range))).status).toBe(200);
  });

  test('are as slow as copies where these are bounded, and stop when nobody waits', async () => {
    const all = await followed('hashes slow');
    await all.setting.writeMuch(120, 60 * KiB);
    await all.setting.flush();
    await applied(all);
    const { machine } = all;
    const { changes, catalog } = machine.group();
    changes.replace({ ...catalog, copyBytesPerSecond: 512 * KiB });
    machine.group().changed();
    await machine.pass(10);
    const range = { offset: 0, length: sizeBytes };
    const first = ask(all, range);
    await machine.pass(2000);
    expect(first.isDone).toBe(false);
    const second = ask(all, range);
    first.leave();
    await machine.pass(100);
    await done(all, second, 20_000);
    expect(second.status).toBe(200);
  });
});
