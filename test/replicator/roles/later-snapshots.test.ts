import { expect, test } from 'vitest';
import { SnapshotContents } from '../../../src/group/snapshots/snapshot-contents.ts';
import { SystemExports } from '../../../src/group/system/exports.ts';
import { readPending } from '../../../src/group/apply/export.ts';
import { must } from '../../../src/platform/assert.ts';
import { hashUnitBytes } from '../../../src/volume/unit-hashes.ts';
import type { FleetSystem } from '../fleet.ts';
import { sizeBytes, SnapshotFleet, snapshotNamed } from './snapshot-fleet.ts';

const timeout = 60_000;
const noFiles = { kind: 'no_space', operation: 'entry', path: '/data/groups/g/volumes' } as const;
const slowReads = {
  kind: 'slow',
  operation: 'read',
  path: '/data/groups/g/volumes',
  isLaterOnly: true,
  milliseconds: 20_000,
} as const;

/** Beta follows, and has a snapshot; whatever is read of volumes comes from the disk, and is asked for later. */
async function begin(seed: string) {
  const setting = await SnapshotFleet.begin(seed, 1);
  const { alpha } = setting;
  const beta = await setting.follow('beta', alpha);
  await setting.snapshot(alpha, 's1');
  await setting.write(alpha, 20);
  await beta.caughtUp(alpha);
  return { setting, alpha, beta, s1: must(setting.contents.get('s1'), 'what it was made of') };
}

/** Its files cannot be made at beta, which has its record, and much that was written behind it. */
async function laterSnapshot(setting: SnapshotFleet, beta: FleetSystem): Promise<number> {
  const { alpha } = setting;
  beta.machine.faults.add(noFiles);
  await setting.snapshot(alpha, 's2');
  await setting.write(alpha, 60);
  await beta.until(() => beta.group().watermarks.durable === alpha.group().watermarks.newest);
  return snapshotNamed(alpha, 's2').number;
}

/** A connection to the first snapshot, and what it was told of its read. */
function connect(system: FleetSystem) {
  const ends: number[] = [];
  const exports = new SystemExports(system.system, system.disk);
  const session = must(exports.find('g/v@s1'), 'the snapshot is there').open({
    peer: '127.0.0.1:1',
    admitted: () => undefined,
    durableReached: () => undefined,
    durableFailed: () => undefined,
    readCompleted: (_token, error) => void ends.push(error),
    revoke: (reason) => void ends.push(reason.length),
  });
  return { session, ends };
}

test('nothing is applied behind a snapshot before its files are there, so a read goes on to its end', {
  timeout,
}, async () => {
  const { setting, alpha, beta, s1 } = await begin('goes on');
  beta.machine.faults.add(slowReads);
  const { session, ends } = connect(beta);
  const bytes = Buffer.alloc(sizeBytes);
  expect(session.read(0, sizeBytes, bytes, 0, 1)).toBe(readPending);
  const later = await laterSnapshot(setting, beta);
  expect(ends).toEqual([]);
  await beta.until(() => ends.length > 0);
  expect(beta.group().watermarks.applied).toBe(later - 1);
  expect(ends).toEqual([0]);
  expect(bytes.equals(s1)).toBe(true);
  // What was not begun before waits, whatever is asked.
  expect(session.admitsRead(0, sizeBytes)).toBe(false);
  beta.machine.faults.clear();
  await beta.until(() => session.admitsRead(0, sizeBytes));
  session.close();
  await setting.checkSame(beta, alpha);
});

test('hashes of a snapshot wait for the files of a later one', { timeout }, async () => {
  const { setting, alpha, beta } = await begin('hashes');
  const { number } = snapshotNamed(beta, 's1');
  const { id } = must(beta.group().volumes.get('v'), 'the volume is there').catalog;
  const hashes = (system: FleetSystem): Promise<Uint8Array> =>
    SnapshotContents.find(system.group(), number, id).hashes(0, sizeBytes, hashUnitBytes, () =>
      Promise.resolve(),
    );
  beta.machine.faults.add({ ...slowReads, milliseconds: 2000 });
  // One is under way when the record comes, one is asked for behind it.
  const first = hashes(beta);
  await laterSnapshot(setting, beta);
  const second = hashes(beta);
  let ended = 0;
  for (const each of [first, second]) void each.then(() => (ended += 1));
  await setting.fleet.pass(100_000);
  expect(ended).toBe(0);
  beta.machine.faults.clear();
  const expected = await alpha.run(hashes(alpha));
  expect(await beta.run(first)).toEqual(expected);
  expect(await beta.run(second)).toEqual(expected);
  await setting.checkSame(beta, alpha);
});
