import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Volume } from '../../src/group/apply/volume.ts';
import { createVolume, deleteVolume } from '../../src/group/volumes/volume-changes.ts';
import { NbdClient } from '../../src/nbd/client.ts';
import { must } from '../../src/platform/assert.ts';
import { JnbdError } from '../../src/platform/errors.ts';
import { KiB, MiB } from '../../src/platform/limits.ts';
import { NodeDisk } from '../../src/platform/node-disk.ts';
import { eventually } from '../support/nbd-server.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';
import { type ServedSystem, serveSystem, slowPath } from './served-system.ts';

const sizeBytes = 16 * MiB;
let directory: TemporaryDirectory;
let served: ServedSystem;
let clients: NbdClient[] = [];

beforeEach(async () => {
  directory = temporaryDirectory('volume-deletion');
  served = await serveSystem(directory.path, sizeBytes);
});

afterEach(async () => {
  vi.restoreAllMocks();
  for (const client of clients) client.destroy();
  clients = [];
  await served.stop();
  directory.remove();
});

async function connect(exportName: string, to = served.address): Promise<NbdClient> {
  const client = await NbdClient.connect(to, { exportName, replyForm: 'structured' });
  clients.push(client);
  return client;
}

async function create(name: string): Promise<Volume> {
  const { system, group } = served;
  const settings = { sizeBytes, journalOnly: false };
  return (await createVolume(new NodeDisk(), group, system.filesOf(group), name, settings)).volume;
}

function remove(name: string): Promise<boolean> {
  return deleteVolume(served.group, name, true);
}

function contents(length: number, seed: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, at) => ((at * 7 + seed * 31) % 251) + 1));
}

/** Files that are gone and still open here; the thread that applies has its own descriptors. */
function openThoughDeleted(): string[] {
  return readdirSync('/proc/self/fd')
    .map((descriptor) => linkOf(`/proc/self/fd/${descriptor}`))
    .filter((link) => link.startsWith(directory.path) && link.endsWith(' (deleted)'));
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

async function allClosed(): Promise<void> {
  await eventually('files of deleted volumes are closed', () => openThoughDeleted().length === 0);
}

async function refuses(name: string): Promise<void> {
  await expect(remove(name)).rejects.toMatchObject({ code: 'volume_in_use' });
}

async function use(client: NbdClient, image: Buffer): Promise<void> {
  await client.write(4096, image, { fua: true });
  expect((await client.read(4096, image.length)).equals(image)).toBe(true);
  await client.close();
}

describe('a volume that is read', () => {
  it('is not deleted, and what is read stays right', async () => {
    const image = contents(sizeBytes, 1);
    const client = await connect('g/v');
    await client.write(0, image, { fua: true });
    await served.applyAll();
    let isOver = false;
    const reading = (async () => {
      for (let round = 0; !isOver || round < 10; round += 1) {
        const length = round % 3 === 0 ? 8 * MiB : 64 * KiB * (1 + (round % 5));
        const offset = (round * 37 * 4096) % (sizeBytes - length);
        const found = await client.read(offset, length);
        expect(found.equals(image.subarray(offset, offset + length))).toBe(true);
      }
    })();
    for (let tries = 0; tries < 30; tries += 1) {
      await refuses('v');
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    isOver = true;
    await reading;
    await client.close();
    await eventually('the session is closed', () => served.volume.sessions.size === 0);
    expect(await remove('v')).toBe(true);
    expect(existsSync(served.volume.backingFile)).toBe(false);
    await allClosed();
  });

  it('is deleted as soon as its client is gone, in the middle of a long read', async () => {
    await create('other');
    const image = contents(sizeBytes, 2);
    const other = await connect('g/other');
    await other.write(0, image, { fua: true });
    for (let round = 0; round < 8; round += 1) {
      const name = `v${round}`;
      const volume = await create(name);
      const path = await slowPath(served.address);
      const client = await connect(`g/${name}`, path.address);
      await client.write(0, image, { fua: round % 2 === 0 });
      if (round % 4 !== 3) await served.applyAll();
      const file = must(volume.file, 'a file');
      const held: (() => void)[] = [];
      let isSlow = true;
      const isDiskAsked = round % 4 === 1;
      if (isDiskAsked) {
        // The disk is asked, and answers when the client is gone.
        vi.spyOn(file, 'isCachedSync').mockReturnValue(false);
        vi.spyOn(file, 'readIfCachedSync').mockReturnValue(-1);
        const read = file.read.bind(file);
        vi.spyOn(file, 'read').mockImplementation((bytes, at, length, position, done) => {
          read(bytes, at, length, position, (...result) => {
            if (isSlow) held.push(() => done(...result));
            else done(...result);
          });
        });
      }
      path.isHeld = true;
      const reading = client.read(0, sizeBytes).catch((error: unknown) => error);
      await new Promise((resolve) => setTimeout(resolve, 5 * round));
      if (isDiskAsked) await eventually('the disk is asked', () => held.length > 0);
      path.close();
      expect(await reading).toBeInstanceOf(JnbdError);
      if (isDiskAsked) {
        // What the disk still reads into is the session's: it ends when that is over.
        await refuses(name);
        isSlow = false;
        for (const answer of held) answer();
      }
      await eventually('the session is closed', () => volume.sessions.size === 0);
      expect(await remove(name)).toBe(true);
      expect(existsSync(volume.backingFile)).toBe(false);
      const again = connect(`g/${name}`);
      await expect(again).rejects.toMatchObject({ code: 'export_not_found' });
      expect((await other.read(0, 2 * MiB)).equals(image.subarray(0, 2 * MiB))).toBe(true);
    }
    await served.applyAll();
    await allClosed();
  });
});

describe('a volume whose writes are not applied', () => {
  it('goes, and takes none of the others with it', async () => {
    await create('other');
    const other = await connect('g/other');
    const image = contents(MiB, 3);
    for (let round = 0; round < 6; round += 1) {
      const volume = await create('gone');
      const client = await connect('g/gone');
      const newest = contents(MiB, round);
      for (let at = 0; at < 8; at += 1) {
        await client.write(at * MiB, image);
        await other.write(at * MiB, newest);
      }
      if (round % 3 === 0) served.group.hurryApply();
      await client.close();
      await eventually('the session is closed', () => volume.sessions.size === 0);
      expect(await remove('gone')).toBe(true);
    }
    await served.applyAll();
    expect((await other.read(7 * MiB, MiB)).equals(contents(MiB, 5))).toBe(true);
    expect(served.group.conditions.list()).toEqual([]);
    expect(served.group.state).toBe('normal');
    await allClosed();
  });
});

it('a client that asks for a volume while it is deleted gets it whole or not at all', async () => {
  const image = contents(64 * KiB, 4);
  for (let round = 0; round < 40; round += 1) {
    const volume = await create('brief');
    const asking = connect('g/brief');
    await new Promise((resolve) => setTimeout(resolve, round % 4));
    const [deleted, client] = await Promise.allSettled([remove('brief'), asking]);
    // Either it is deleted, or whoever has it keeps it.
    const isOpen = client.status === 'fulfilled';
    expect(deleted).toMatchObject(
      isOpen ? { reason: { code: 'volume_in_use' } } : { status: 'fulfilled', value: true },
    );
    if (isOpen) {
      await use(client.value, image);
      await eventually('the session is closed', () => volume.sessions.size === 0);
      await remove('brief');
    }
    expect(existsSync(volume.backingFile)).toBe(false);
  }
  await allClosed();
});
