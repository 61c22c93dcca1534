import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkJournal, inspectJournal } from '../../src/journal/inspect.ts';
import { offlineDisk } from '../../src/journal/offline-disk.ts';
import { NbdClient } from '../../src/nbd/client.ts';
import { build, jnbd } from '../support/built-program.ts';
import { Daemon } from '../support/daemon.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';

const MiB = 1024 * 1024;
let directory: TemporaryDirectory;
let daemon: Daemon;

beforeAll(async () => {
  await build();
  directory = temporaryDirectory('deletion');
  daemon = await Daemon.start({ dataDirectory: join(directory.path, 'data') });
  await daemon.client('group', 'create', 'g', '--journal-size', '64MiB');
}, 120_000);

afterAll(async () => {
  await daemon?.kill();
  directory?.remove();
});

async function volumeNames(): Promise<string[]> {
  const { volumes } = (await daemon.client('volume', 'list')) as {
    volumes: { volume: { name: string } }[];
  };
  return volumes.map(({ volume }) => volume.name);
}

/** Creates, fills and deletes volumes for so many rounds. */
async function churn(rounds: number, name: string): Promise<void> {
  const bytes = Buffer.alloc(MiB, 5);
  for (let round = 0; round < rounds; round += 1) {
    await daemon.client('volume', 'create', `g/${name}`, '--size', '32MiB');
    const client = await NbdClient.connectUri(daemon.uri(`g/${name}`));
    for (let at = 0; at < 8; at += 1) await client.write(at * MiB, bytes, { fua: at % 4 === 0 });
    await client.close();
    for (;;) {
      const { code, stderr } = await jnbd([
        'volume',
        'delete',
        `g/${name}`,
        '--force',
        '--data',
        daemon.dataDirectory,
      ]);
      if (code === 0) break;
      // The server hears of a closed connection a moment later.
      expect(stderr).toContain('in use by connected clients');
    }
  }
}

/** Each MiB says which one it is. */
async function isCopied(name: string): Promise<boolean> {
  const copy = await NbdClient.connectUri(daemon.uri(name));
  const found = [0, 50, 127].map(async (at) =>
    (await copy.read(at * MiB, MiB)).equals(Buffer.alloc(MiB, at + 1)),
  );
  const areEqual = await Promise.all(found);
  await copy.close();
  return areEqual.every(Boolean);
}

describe('volumes that are deleted', () => {
  it('are no damage to who reads the journal beside', async () => {
    let isOver = false;
    const churning = churn(3, 'brief').finally(() => {
      isOver = true;
    });
    let looks = 0;
    const codes = new Set<string>();
    while (!isOver) {
      const report =
        looks % 2 === 0
          ? checkJournal(offlineDisk(), daemon.dataDirectory)
          : inspectJournal(offlineDisk(), daemon.dataDirectory, () => undefined);
      looks += 1;
      for (const { problems } of report.groups)
        for (const { severity, code, message } of problems)
          if (severity === 'damage') codes.add(`${code}: ${message}`);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await churning;
    expect([...codes]).toEqual([]);
    expect(looks).toBeGreaterThan(5);
    const { code, stdout } = await jnbd(['journal', 'check', daemon.dataDirectory]);
    expect(stdout).toMatch(/no damage/);
    expect(code).toBe(0);
  }, 120_000);

  it('are not, while an import fills them', async () => {
    const image = join(directory.path, 'image');
    writeFileSync(image, Buffer.alloc(192 * MiB, 'x'));
    const importing = jnbd([
      'volume',
      'create',
      'g/filled',
      '--from',
      image,
      '--data',
      daemon.dataDirectory,
      '--json',
    ]);
    let isOver = false;
    const done = importing.finally(() => {
      isOver = true;
    });
    const told: string[] = [];
    while (!isOver) {
      const { code, stderr } = await jnbd([
        'volume',
        'delete',
        'g/filled',
        '--data',
        daemon.dataDirectory,
      ]);
      if (code !== 0) told.push(stderr);
    }
    const { code, json } = await done;
    expect({ code, json }).toMatchObject({ code: 0, json: { volume: { state: 'normal' } } });
    expect(await volumeNames()).toContain('filled');
    // Filled from FILE; or, behind the end, a volume with data that wants --force.
    for (const text of told) expect(text).toMatch(/is being filled from .*image|add --force/);
    await daemon.client('volume', 'delete', 'g/filled', '--force');
  }, 120_000);

  it('are not, while another volume is filled from them', async () => {
    const client = await NbdClient.connectUri(
      await daemon.client('volume', 'create', 'g/source', '--size', '128MiB').then(() => {
        return daemon.uri('g/source');
      }),
    );
    for (let at = 0; at < 128; at += 1) await client.write(at * MiB, Buffer.alloc(MiB, at + 1));
    await client.close();
    let isOver = false;
    const copying = jnbd([
      'volume',
      'create',
      'g/copy',
      '--from',
      daemon.uri('g/source'),
      '--data',
      daemon.dataDirectory,
    ]).finally(() => {
      isOver = true;
    });
    const told: string[] = [];
    let isDeleted = false;
    while (!isOver && !isDeleted) {
      const words = ['volume', 'delete', 'g/source', '--force', '--data', daemon.dataDirectory];
      const { code, stderr } = await jnbd(words);
      isDeleted = code === 0;
      if (!isDeleted) told.push(stderr);
    }
    for (const text of told) expect(text).toContain('in use by connected clients');
    const { code, stderr } = await copying;
    // Either all of it was copied, or it was deleted before the copy began.
    const isWhole = code === 0 && (await isCopied('g/copy'));
    expect(isWhole || (told.length === 0 && /source/.test(stderr))).toBe(true);
  }, 120_000);
});
