import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { must } from '../../src/platform/assert.ts';
import { KiB, MiB } from '../../src/platform/limits.ts';
import { build } from '../support/built-program.ts';
import { sleep, until } from '../support/children.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';
import { CrashingSystem } from './crashing-system.ts';
import { CrashTestFailure, type Finding, findingText } from './findings.ts';
import type { GroupLedger, Operation } from './group-ledger.ts';
import { sectorBytes } from './update-contents.ts';
import type { VolumeModel } from './volume-model.ts';

const blockBytes = 4 * KiB;
const seed = Date.now() % 2 ** 31;

let directory: TemporaryDirectory;
let running: CrashingSystem | undefined;

beforeAll(build);
beforeEach(() => {
  directory = temporaryDirectory('crash');
});
afterEach(async () => {
  await running?.close();
  running = undefined;
  directory.remove();
});

async function create(
  syncInterval: string,
): Promise<{ system: CrashingSystem; group: GroupLedger }> {
  const volumesBytes = { data: 16 * MiB, log: 4 * MiB };
  const group = { name: 'main', onFull: 'throttle', areas: 1, syncInterval, volumesBytes } as const;
  const settings = { memory: '64MiB', groups: [group] };
  const system = await CrashingSystem.create(directory.path, settings, seed);
  running = system;
  return { system, group: must(system.groups[0], 'there is a group') };
}

/** The findings of what must not succeed. */
async function findingsOf(verification: () => unknown): Promise<readonly Finding[]> {
  try {
    await verification();
  } catch (error) {
    if (error instanceof CrashTestFailure) return error.findings;
    throw error;
  }
  throw new Error('nothing was found');
}

function overwrite(path: string, offset: number, bytes: Uint8Array): void {
  const descriptor = openSync(path, 'r+');
  writeSync(descriptor, bytes, 0, bytes.length, offset);
  closeSync(descriptor);
}

function readBlock(path: string, offset: number): Buffer {
  const bytes = Buffer.alloc(blockBytes);
  const descriptor = openSync(path, 'r');
  readSync(descriptor, bytes, 0, bytes.length, offset);
  closeSync(descriptor);
  return bytes;
}

describe(`the verification (seed ${seed})`, () => {
  it('names the updates of a tail that is gone, and what stands in their place', async () => {
    // Nothing says of anything but the volumes' creation that it was durable.
    const { system, group } = await create('60s');
    await system.load({ syncs: false, sizes: 'small', workers: 8 });
    await until(
      () => 'too little was written',
      30,
      () => group.number > 400,
    );
    await system.kill();
    const [death] = system.settle();
    const { path, offset } = group.follower.end;
    const last = group.number;
    expect(offset).toBeGreaterThan(200 * KiB);
    overwrite(path, offset - 100 * KiB, Buffer.alloc(100 * KiB));

    const offline = await findingsOf(() => system.checkJournals());
    expect(offline[0]?.what).toBe('the journal ends elsewhere');
    const lost = offline.filter(({ what }) => what === 'an update is lost');
    expect(lost.at(-1)?.expected).toContain(`update ${last} (`);

    await system.start();
    const findings = await findingsOf(() => system.verify());
    expect(findings.map(findingText).join('\n')).toMatch(
      new RegExp(`goes on with update \\d+, but update ${last} was the last that was appended`),
    );
    const stale = findings.filter(({ what }) => what.includes('does not hold what was written'));
    expect(stale.length).toBeGreaterThan(0);
    for (const { subject, offset: at, length, expected } of stale) {
      expect(subject).toMatch(/^main\/(data|log)$/);
      expect((at ?? -1) % sectorBytes).toBe(0);
      expect(length).toBeGreaterThanOrEqual(sectorBytes);
      const number = Number(/^update (\d+) \((write|zero|hole) of/.exec(expected ?? '')?.[1]);
      expect(number).toBeGreaterThan(death?.checkpointed ?? 0);
    }
    expect(stale.some(({ expected }) => expected?.includes(', acknowledged)'))).toBe(true);
    expect(stale.some(({ found }) => /^(update \d+|zeroes)$/.test(found ?? ''))).toBe(true);
  });

  it('calls it damage where the journal says that they were durable', async () => {
    const { system, group } = await create('1ms');
    await system.load({ sizes: 'small', workers: 8 });
    await until(
      () => 'too little was written',
      30,
      () => group.number > 400,
    );
    await system.endLoad();
    // Once writing pauses a mark follows, which stays.
    await sleep(100);
    await system.kill();
    system.settle();
    const { path, offset } = group.follower.end;
    overwrite(path, offset - 100 * KiB, Buffer.alloc(50 * KiB));

    const findings = await findingsOf(() => system.checkJournals());
    expect(findings[0]).toMatchObject({ what: 'the journal is damaged', subject: 'main' });
    expect(findings[0]?.found).toContain(path);
    const lost = findings.filter(({ what }) => what === 'an update is lost');
    expect(lost[0]?.subject).toMatch(/^main\/(data|log)$/);
    expect(lost[0]?.expected).toMatch(/^update \d+ \(.*, acknowledged\)$/);
    expect(lost[0]?.found).toMatch(/^update \d+ as the last$/);
    expect((await findingsOf(() => system.checkByProgram()))[0]?.what).toContain('exited with 7');
  });

  it('finds a block of a volume that was changed, set back or exchanged', async () => {
    const { system, group } = await create('20ms');
    const volume = must(group.volumes.get('data'), 'it was created');
    await writeMuch(system, group, 2);
    const before = Buffer.from(volume.contents);
    const numberBefore = group.number;
    await system.start();
    await system.verify();
    const checkpointed = await writeMuch(system, group, 6);
    const file = system.volumeFile(group, volume);

    /** Whole blocks of one update each, which nothing will write again. */
    const blocks = blocksOf(volume).filter(({ update }) => update > 0 && update <= checkpointed);
    const [first, second] = blocks;
    const older = blocks.find(
      ({ update, offset }) =>
        update > numberBefore &&
        before.readUInt32LE(offset) !== 0 &&
        before.compare(
          volume.contents,
          offset,
          offset + blockBytes,
          offset,
          offset + blockBytes,
        ) !== 0,
    );
    if (!first || !second || !older) throw new Error('the load left no block to damage');

    const flipped = readBlock(file, first.offset);
    flipped[1000] = (flipped[1000] ?? 0) ^ 1;
    expect(await damaged(system, file, first.offset, flipped)).toMatchObject([
      {
        subject: 'main/data',
        offset: first.offset + 512,
        length: sectorBytes,
        expected: expect.stringMatching(new RegExp(`^update ${first.update}\\b`)),
        found: `update ${first.update}, not whole`,
      },
    ]);

    const set = before.subarray(older.offset, older.offset + blockBytes);
    const [back] = await damaged(system, file, older.offset, set);
    expect(back).toMatchObject({ subject: 'main/data', offset: older.offset });
    expect(back?.expected).toMatch(new RegExp(`^update ${older.update}\\b`));
    expect(Number(/^update (\d+)$/.exec(back?.found ?? '')?.[1])).toBeLessThanOrEqual(numberBefore);

    const [exchanged] = await damaged(system, file, first.offset, readBlock(file, second.offset));
    expect(exchanged?.found).toBe(
      `update ${second.update} that was for ${second.offset} of main/data`,
    );
  });

  it('finds what was acknowledged and never journaled, and what was journaled out of order', async () => {
    const { system, group } = await create('20ms');
    const volume = must(group.volumes.get('log'), 'it was created');
    const operation = (id: number, offset: number, sentAt: number): Operation => ({
      id,
      kind: 'zero',
      volume,
      offset,
      length: 512,
      payload: undefined,
      sentAt,
      acknowledgedAt: sentAt + 1,
      seenBytes: 0,
    });
    const client = await system.connect('main/log');
    group.sent(operation(1, 0, 30));
    await client.writeZeroes(0, 512, { noHole: true });
    // As if it had been answered before the other one was sent.
    group.sent(operation(2, 1024, 20));
    await client.writeZeroes(1024, 512, { noHole: true });
    group.sent(operation(3, 4096, 40));
    // Sent and never answered: what begins at the same place is not taken for a part of it.
    group.sent({ ...operation(4, 8192, 50), length: 1024, acknowledgedAt: Infinity });
    group.sent(operation(5, 8192, 60));
    await client.writeZeroes(8192, 512, { noHole: true });
    client.destroy();
    await system.kill();
    const texts = (await findingsOf(() => system.settle())).map(findingText);
    expect(texts).toHaveLength(2);
    expect(texts[0]).toMatch(
      /acknowledged operation is not in the journal: main\/log at 4096 \(512/,
    );
    expect(texts[1]).toMatch(
      /main\/log at 1024 .*: expected update 4 \(\w+\) below 3, which was sent after/,
    );
  });
});

/** A life in which checkpoints pass; returns the last one. */
async function writeMuch(
  system: CrashingSystem,
  group: GroupLedger,
  rolls: number,
): Promise<number> {
  const { follower } = group;
  const least = follower.rolls + rolls;
  await system.load({ sizes: 'mixed', workers: 8 });
  await until(
    () => `only ${follower.rolls} segments were filled`,
    60,
    () => follower.rolls >= least,
  );
  await system.kill();
  return must(system.settle()[0], 'there is a group').checkpointed;
}

function* blocksIn(volume: VolumeModel): Generator<{ offset: number; update: number }> {
  const sectors = blockBytes / sectorBytes;
  for (let offset = 0; offset < volume.sizeBytes; offset += blockBytes) {
    const first = offset / sectorBytes;
    const update = volume.updateAt(first);
    let isOne = volume.contents.readUInt32LE(offset) !== 0;
    for (let at = 1; at < sectors; at += 1) isOne &&= volume.updateAt(first + at) === update;
    if (isOne) yield { offset, update };
  }
}

function blocksOf(volume: VolumeModel): { offset: number; update: number }[] {
  return [...blocksIn(volume)];
}

/** What is found of a volume with these bytes in it; they are taken out again. */
async function damaged(
  system: CrashingSystem,
  file: string,
  offset: number,
  bytes: Buffer,
): Promise<readonly Finding[]> {
  const original = readBlock(file, offset);
  overwrite(file, offset, bytes);
  await system.start();
  const findings = await findingsOf(() => system.verify());
  await system.kill();
  system.settle();
  overwrite(file, offset, original);
  return findings;
}
