import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { recordType } from '../../src/journal/record.ts';
import { must } from '../../src/platform/assert.ts';
import { JournalFollower } from '../crash/journal-follower.ts';
import { FuzzRandom } from '../fuzz/fuzz-random.ts';
import { build } from '../support/built-program.ts';
import { sleep, until } from '../support/children.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';
import { blockBytes, BlockLedger } from './block-ledger.ts';
import { BlockLoad } from './block-load.ts';
import { groupOf, SyncPair, untilProtected, wholeVolume } from './sync-pair.ts';

const blocks = 512;
const seed = Number(process.env['JNBD_SYNC_SEED'] ?? Date.now() % 2 ** 31);

let directory: TemporaryDirectory;
let pair: SyncPair | undefined;

beforeEach(() => {
  directory = temporaryDirectory('sync-degrade');
});

let endNumbers: (() => void) | undefined;

afterEach(async () => {
  // The directory that it looks at is removed.
  endNumbers?.();
  endNumbers = undefined;
  await pair?.close();
  pair = undefined;
  directory.remove();
});

/** Reads the numbers of updates from the journal while they are written. */
function numberFollower(
  dataDirectory: string,
  seen: (number: number, block: number, version: number) => void,
) {
  const journal = join(dataDirectory, 'groups', 'g', 'journal');
  mkdirSync(journal, { recursive: true });
  const follower = new JournalFollower([journal], ({ type, number, offset }, payload) => {
    if (type === recordType.write) seen(number, offset / blockBytes, payload.readUInt32LE(4));
  });
  const poll = setInterval(() => follower.poll(), 5);
  return () => {
    clearInterval(poll);
    follower.poll();
    follower.close();
  };
}

it(`hosts that go on without a follower are told from which update on, on both sides (seed ${seed})`, async () => {
  await build();
  const random = new FuzzRandom(seed);
  const settings = { onLoss: 'degrade', timeoutMilliseconds: 1000, blocks } as const;
  pair = await SyncPair.create(directory.path, settings);
  const { primary, follower } = pair;
  const ledger = new BlockLedger(blocks);
  const numbers = new Map<string, number>();
  endNumbers = numberFollower(primary.dataDirectory, (number, block, version) => {
    numbers.set(`${block} ${version}`, number);
  });
  const load = await BlockLoad.begin(ledger, random, primary.uri('g/v'), 8);
  await sleep(random.below(500));

  // Lost, and back: the promise holds again.
  await follower.kill();
  let first = await groupOf(primary);
  const condition = () => first.conditions.find(({ code }) => code === 'sync_lost');
  // Of one that was late before it died, what it said last may count in between.
  await until(
    () => `hosts do not go on, or are not told so: ${JSON.stringify(first.synchronous)}`,
    30,
    async () => {
      first = await groupOf(primary);
      return first.synchronous.state === 'unprotected' && condition() !== undefined;
    },
  );
  const since = must(first.synchronous.sinceUpdate, 'it is known from which update on');
  expect(condition()?.message).toContain(`updates from ${since} on`);
  const before = ledger.acknowledged;
  await sleep(300);
  expect(ledger.acknowledged, 'hosts are answered without it').toBeGreaterThan(before);
  await follower.start();
  await untilProtected(primary);
  await until(
    () => 'the condition stays',
    20,
    async () => (await groupOf(primary)).conditions.length === 0,
  );

  // Lost for good: nothing from below the number is missing there.
  await sleep(random.below(500));
  process.kill(follower.pid, 'SIGSTOP');
  await until(
    () => 'hosts do not go on',
    30,
    async () => (await groupOf(primary)).synchronous.state === 'unprotected',
  );
  const { synchronous } = await groupOf(primary);
  const promised = must(synchronous.sinceUpdate, 'it is known from which update on') - 1;
  expect(promised).toBeGreaterThanOrEqual(since);
  await sleep(200);
  await primary.kill();
  await load.end();
  endNumbers();
  endNumbers = undefined;
  expect(load.findings).toEqual([]);
  process.kill(follower.pid, 'SIGCONT');
  const { watermarks } = await groupOf(follower);
  expect(watermarks.durable).toBeGreaterThanOrEqual(promised);
  await pair.promote();
  const missing = ledger.missing(await wholeVolume(follower, blocks));
  expect(missing.length, 'what hosts were answered without it').toBeGreaterThan(0);
  for (const { block, version } of missing) {
    // The next version of that block is the first that is missing.
    const number = must(numbers.get(`${block} ${version + 1}`), 'it was journaled');
    expect(number, `block ${block}`).toBeGreaterThan(promised);
  }
}, 120_000);

it('a follower that is back knows what was acknowledged without it', async () => {
  const settings = { onLoss: 'degrade', timeoutMilliseconds: 500, blocks } as const;
  pair = await SyncPair.create(directory.path, settings);
  const { primary, follower } = pair;
  await follower.client('suspend', 'g');
  const random = new FuzzRandom(1);
  const load = await BlockLoad.begin(new BlockLedger(blocks), random, primary.uri('g/v'), 2);
  await until(
    () => 'hosts do not go on',
    30,
    async () => (await groupOf(primary)).synchronous.state === 'unprotected',
  );
  await load.end();
  // It is not enough any more: hosts do not wait for it again.
  await primary.client('group', 'configure', 'g', '--sync-wait', '2');
  const { synchronous } = await groupOf(primary);
  expect(synchronous.lost).toEqual(['second']);
  await follower.client('resume', 'g');
  await until(
    () => 'the follower is not told',
    30,
    async () => (await groupOf(follower)).synchronous.state === 'unprotected',
  );
  const told = await groupOf(follower);
  expect(told.synchronous.sinceUpdate).toBe(synchronous.sinceUpdate);
  const condition = told.conditions.find(({ code }) => code === 'sync_lost');
  expect(condition?.message).toContain(`updates from ${synchronous.sinceUpdate} on`);
}, 60_000);
