import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NbdClient } from '../../src/nbd/client.ts';
import { until } from '../support/children.ts';
import { build } from '../support/built-program.ts';
import { type CommandFailed, Daemon } from '../support/daemon.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';
import {
  flipBit,
  hasHidden,
  status,
  type Verified,
  VerifiedPair,
  verify,
  volumeBytes,
  volumeFile,
} from './verified-pair.ts';

const MiB = 1024 * 1024;
const blockBytes = 4096;
let directory: TemporaryDirectory;
let pair: VerifiedPair;

beforeAll(async () => {
  await build();
  directory = temporaryDirectory('verify');
  pair = await VerifiedPair.create(directory.path);
}, 240_000);

afterAll(async () => {
  await pair?.close();
  directory?.remove();
});

describe('jnbd verify', () => {
  it('finds systems the same while hosts write', async () => {
    const { first, second } = pair;
    const client = await NbdClient.connectUri(first.uri('g/v'));
    let isOver = false;
    let writes = 0;
    const load = (async () => {
      while (!isOver) {
        writes += 1;
        const at = ((writes * 7919) % (volumeBytes / 512 - 40)) * 512;
        await client.write(at, Buffer.alloc(512 * (1 + (writes % 30)), writes & 0xff));
        if (writes % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
      }
    })();
    try {
      for (const daemon of [second, first, second]) {
        const found = await verify(daemon, { snapshots: true });
        const other = daemon === first ? 'second' : 'first';
        expect(found).toMatchObject({
          result: 'same',
          systems: [{ name: other, result: 'same' }],
          damages: [],
        });
        // Both volumes, and the snapshot of both.
        expect(found.comparedBytes).toBe(2 * (volumeBytes + MiB + 512));
        expect(found.number).toBeGreaterThan(0);
      }
    } finally {
      isOver = true;
      await load;
      await client.close();
    }
    expect(writes).toBeGreaterThan(100);
    await pair.applied();
    expect([hasHidden(first), hasHidden(second)]).toEqual([false, false]);
    const { snapshots, verification } = await status(first);
    expect(snapshots.map(({ name }) => name)).toEqual(['one']);
    expect(verification).toMatchObject({ running: null, last: { result: 'same' } });
    expect((await first.get('/metrics')).body).toMatch(/^jnbd_verified_same\{group="g"\} 1$/m);
  });

  it('finds a bit of a volume of a follower, and repairs it from the source', async () => {
    const { second } = pair;
    await pair.applied();
    flipBit(volumeFile(second, 1), 2 * MiB + 77);
    const command = await second.client('verify', 'g').catch((error: CommandFailed) => error);
    expect(command).toMatchObject({ code: 7 });
    const found = JSON.parse((command as CommandFailed).stdout) as Verified;
    expect(found).toMatchObject({
      result: 'different',
      systems: [
        { differences: [{ snapshot: null, volume: 'v', offset: 2 * MiB, length: blockBytes }] },
      ],
    });
    const { conditions } = await status(second);
    expect(conditions.map((each) => each.code)).toEqual(['identity_broken']);
    await expect(verify(second, { repairFrom: 'third' })).rejects.toThrow('from its source alone');
    const repaired = await verify(second, { repairFrom: 'first' });
    expect(repaired.repair).toMatchObject({ from: 'first', leftBytes: 0 });
    await pair.untilSame(second, { snapshots: true });
    expect((await status(second)).conditions).toEqual([]);
  });

  it('finds a bit of a volume of a primary, and repairs it from the follower', async () => {
    const { first } = pair;
    await pair.applied();
    const before = readFileSync(volumeFile(first, 2));
    flipBit(volumeFile(first, 2), MiB + 100);
    expect(await verify(first, { repairFrom: 'second' })).toMatchObject({
      systems: [{ name: 'second', differences: [{ volume: 'w', offset: MiB, length: 512 }] }],
      repair: { from: 'second', bytes: 512, leftBytes: 0 },
    });
    await pair.untilSame(first, { snapshots: true });
    await pair.applied();
    expect(readFileSync(volumeFile(first, 2)).equals(before)).toBe(true);
  });

  it('finds a bit of a preserved area on either side, and repairs it', async () => {
    const { first, second } = pair;
    // The first snapshot's area of the first volume; what it keeps begins with the volume.
    for (const [damaged, right] of [
      [first, second],
      [second, first],
    ] as const) {
      // A repair goes through the journal, and would be applied over what is flipped now.
      await pair.applied();
      flipBit(volumeFile(damaged, 3), 5 * blockBytes + 1);
      expect((await verify(damaged)).result).toBe('same');
      const from = right === first ? 'first' : 'second';
      const found = await verify(damaged, { snapshots: true, repairFrom: from });
      const differences = [
        { snapshot: 'one', volume: 'v', offset: 5 * blockBytes, length: blockBytes },
      ];
      expect(found).toMatchObject({ systems: [{ differences }], repair: { from } });
      await pair.untilSame(damaged, { snapshots: true });
    }
  });

  it('names what is damaged beside volumes', async () => {
    const { first, second } = pair;
    const files = join(first.dataDirectory, 'groups/g');
    await second.client('suspend', 'g');
    await pair.fill('g/v', 0, 2 * MiB, 9);
    for (const [path, at] of [
      [join(files, 'followers'), 20],
      [join(files, 'catalog'), 40],
      [join(files, 'checkpoint'), 50],
      [join(second.dataDirectory, 'groups/g/follow'), 9],
    ] as const) {
      const found = await whileFlipped(path, at, () =>
        verify(path.startsWith(files) ? first : second),
      );
      expect(found).toMatchObject({ result: 'damaged', damages: [{ file: path }] });
    }
    const journal = join(files, 'journal');
    const segment = readdirSync(journal)
      .filter((name) => name.endsWith('.segment'))
      .map((name) => join(journal, name))
      .find((path) => readFileSync(path).includes(contentsOf(9)));
    expect(segment).toBeDefined();
    const at = readFileSync(segment ?? '').indexOf(contentsOf(9)) + 1000;
    const found = await whileFlipped(segment ?? '', at, () => verify(first));
    const offset = Number(/^offset (\d+)$/.exec(found.damages[0]?.place ?? '')?.[1] ?? 0);
    expect(found.damages).toMatchObject([{ file: segment, system: 'first' }]);
    expect(offset).toBeLessThan(at);
    expect(at - offset).toBeLessThan(8192);
    await second.client('resume', 'g');
    await second.client('wait', 'g', '--for', 'synced', '--timeout', '60s');
    await pair.untilSame(first);
  });

  it('compares a follower with its source, also where that follows another one', async () => {
    const { first, second } = pair;
    const third = await Daemon.start({
      dataDirectory: join(directory.path, 'third'),
      arguments: ['--name', 'third'],
    });
    try {
      await third.client('follow', 'g', '--from', `http://127.0.0.1:${second.listenPort}`);
      await third.client('wait', 'g', '--for', 'synced', '--timeout', '60s');
      await pair.fill('g/w', 0, 4096, 11);
      expect(await verify(third, { snapshots: true })).toMatchObject({
        result: 'same',
        systems: [{ name: 'second', result: 'same' }],
      });
      expect(hasHidden(first)).toBe(false);
      await third.client('unfollow', 'g');
    } finally {
      await third.kill();
    }
  });

  it('leaves no snapshot behind, whoever is killed in the midst', async () => {
    const { first, second } = pair;
    await first.client('group', 'configure', 'g', '--copy-rate', '4MiB');
    for (const killed of [first, second]) {
      const verifying = verify(second).catch(() => undefined);
      await until(
        () => 'there is no snapshot',
        40,
        () => Promise.resolve(hasHidden(first)),
      );
      await killed.kill();
      await killed.start();
      // Of one that is not heard any more the primary deletes it after a while.
      await until(
        () => 'it is left',
        60,
        () => Promise.resolve(!hasHidden(first)),
      );
      await verifying;
    }
    await first.client('group', 'configure', 'g', '--copy-rate', 'unlimited');
    await second.client('wait', 'g', '--for', 'synced', '--timeout', '60s');
    await pair.untilSame(second, { snapshots: true });
    await pair.applied();
    expect([hasHidden(first), hasHidden(second)]).toEqual([false, false]);
  }, 180_000);
});

/** Where the daemon writes it anew meanwhile, once more. */
async function whileFlipped(
  path: string,
  at: number,
  look: () => Promise<Verified>,
): Promise<Verified> {
  for (let attempt = 1; ; attempt += 1) {
    const whole = readFileSync(path)[at];
    flipBit(path, at);
    const verified = await look();
    if (readFileSync(path)[at] !== whole) flipBit(path, at);
    if (verified.damages.length > 0 || attempt === 10) return verified;
  }
}

/** As `fill` begins. */
function contentsOf(seed: number): Buffer {
  const bytes = Buffer.alloc(64);
  for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE(at * 31 + seed, at);
  return bytes;
}
