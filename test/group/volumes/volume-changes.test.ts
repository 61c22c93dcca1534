import { afterEach, describe, expect, it } from 'vitest';
import { type BlockSource, importVolume } from '../../../src/group/volumes/import.ts';
import type { Volume } from '../../../src/group/apply/volume.ts';
import {
  changeVolume,
  createVolume,
  deleteVolume,
  resizeVolume,
} from '../../../src/group/volumes/volume-changes.ts';
import { JnbdError } from '../../../src/platform/errors.ts';
import { must } from '../../../src/platform/assert.ts';
import { MiB } from '../../../src/platform/limits.ts';
import { SimulatedMachine } from '../../journal/simulated-system.ts';

let machine: SimulatedMachine;

afterEach(async () => {
  await machine.stop();
});

async function start(seed: string): Promise<Volume> {
  machine = new SimulatedMachine(seed);
  const system = await machine.start();
  const settings = { journalCapacityBytes: 64 * MiB };
  const { group } = await machine.run(system.createGroup('g', settings));
  const made = createVolume(machine.disk, group, system.filesOf(group), 'v', {
    sizeBytes: 10 * MiB,
    journalOnly: false,
  });
  return (await machine.run(made)).volume;
}

/** As the next start finds it. */
async function afterRestart(): Promise<Volume> {
  await machine.stop();
  await machine.start();
  return must(machine.group().volumes.get('v'), 'the volume is there');
}

function codes(results: readonly PromiseSettledResult<unknown>[]): (string | undefined)[] {
  return results.map((result) =>
    result.status === 'fulfilled' ? undefined : (result.reason as { code?: string }).code,
  );
}

describe('changes of one volume at the same time', () => {
  it('all hold', async () => {
    const volume = await start('all');
    const group = machine.group();
    await machine.run(
      Promise.all([
        resizeVolume(group, volume, 20 * MiB),
        changeVolume(group, volume, { maxHosts: 2 }),
        resizeVolume(group, volume, 30 * MiB),
      ]),
    );
    const expected = { sizeBytes: 30 * MiB, maxHosts: 2 };
    expect(volume.catalog).toMatchObject(expected);
    expect((await afterRestart()).catalog).toMatchObject(expected);
  });

  it('never shrink it', async () => {
    const volume = await start('shrink');
    const group = machine.group();
    const results = await machine.run(
      Promise.allSettled([
        resizeVolume(group, volume, 30 * MiB),
        resizeVolume(group, volume, 20 * MiB),
      ]),
    );
    expect(codes(results)).toEqual([undefined, 'volume_shrink']);
    expect(volume.file?.sizeSync()).toBe(30 * MiB);
  });

  it('delete it once, and do nothing to it after that', async () => {
    const volume = await start('delete');
    const group = machine.group();
    const results = await machine.run(
      Promise.allSettled([
        deleteVolume(group, 'v', true),
        deleteVolume(group, 'v', true),
        resizeVolume(group, volume, 20 * MiB),
        changeVolume(group, volume, { maxHosts: 1 }),
      ]),
    );
    expect(codes(results)).toEqual([undefined, undefined, 'volume_not_found', 'volume_not_found']);
    expect(results.slice(0, 2)).toMatchObject([{ value: true }, { value: false }]);
    expect(group.volumes.size).toBe(0);
  });
});

describe('an abnormal volume', () => {
  it('stays abnormal when something else of it changes', async () => {
    const volume = await start('abnormal');
    volume.become('abnormal', 'a test says so');
    await machine.run(changeVolume(machine.group(), volume, { maxHosts: 3 }));
    expect(volume.state).toBe('abnormal');
    expect(volume.failure).toBe('a test says so');
    expect(volume.catalog).toMatchObject({ maxHosts: 3, state: 'normal' });
  });
});

describe('a volume that is deleted', () => {
  it('may not be opened any more from the first step on', async () => {
    const volume = await start('open');
    const deleted = deleteVolume(machine.group(), 'v', true);
    await Promise.resolve();
    await Promise.resolve();
    expect(volume.state).toBe('unused');
    expect(await machine.run(deleted)).toBe(true);
  });

  it('wants force, unless it was never filled', async () => {
    await start('force');
    const group = machine.group();
    await expect(machine.run(deleteVolume(group, 'v', false))).rejects.toMatchObject({
      code: 'confirmation_needed',
    });
    const files = machine.system.filesOf(group);
    const settings = { sizeBytes: MiB, journalOnly: false, filledFrom: '/images/one' };
    const made = createVolume(machine.disk, group, files, 'import', settings);
    must((await machine.run(made)).writer, 'a writer').close();
    group.conditions.raise('g/import', {
      code: 'import_unfinished',
      severity: 'warning',
      message: '',
      nextCommand: '',
    });
    expect(await machine.run(deleteVolume(group, 'import', false))).toBe(true);
    expect(group.conditions.list()).toEqual([]);
  });
});

describe('a volume that an import fills', () => {
  /** The source gives what is asked for, once it is let. */
  function source(): { readonly source: BlockSource; readonly open: () => void } {
    let open = (): void => undefined;
    let abort = (): void => undefined;
    const opened = new Promise<void>((resolve, reject) => {
      open = resolve;
      abort = () => reject(new JnbdError('source_unreadable', 'it was stopped'));
    });
    return {
      open,
      source: {
        name: '/images/one',
        sizeBytes: 8 * MiB,
        nextData: (position) =>
          Promise.resolve(position < 8 * MiB ? { start: position, end: 8 * MiB } : undefined),
        async read(bytes, start, length) {
          await opened;
          bytes.fill(7, start, start + length);
        },
        abort,
        close: () => Promise.resolve(),
      },
    };
  }

  async function fill(seed: string) {
    await start(seed);
    const group = machine.group();
    const settings = { sizeBytes: 8 * MiB, journalOnly: false, filledFrom: '/images/one' };
    const create = () =>
      machine.run(
        createVolume(machine.disk, group, machine.system.filesOf(group), 'filled', settings),
      );
    const made = create();
    const deleted = deleteVolume(group, 'filled', true);
    deleted.catch(() => undefined);
    const { volume, writer } = await made;
    const { source: images, open } = source();
    const stop = new AbortController();
    const filled = importVolume(group, volume, must(writer, 'a writer'), images, {
      signal: stop.signal,
      reached: () => undefined,
    });
    filled.catch(() => undefined);
    return { group, volume, deleted, filled, open, stop, create };
  }

  it('is not deleted while it does, and the refusal names the source', async () => {
    const { group, volume, deleted, filled, open } = await fill('filling');
    const again = deleteVolume(group, 'filled', true);
    // The first was waiting for its turn while the volume was made.
    for (const refused of [deleted, again])
      await expect(machine.run(refused)).rejects.toMatchObject({
        code: 'volume_in_use',
        message: expect.stringContaining('is being filled from /images/one'),
      });
    open();
    await machine.run(filled);
    expect(volume.state).toBe('normal');
    expect(await machine.run(deleteVolume(group, 'filled', true))).toBe(true);
  });

  it('is deleted when that ends, before it is offered', async () => {
    const { group, volume, filled, open } = await fill('ended');
    // What waits for its turn when the copy ends comes before what the import still has to do.
    let release = (): void => undefined;
    const busy = group.changes.inTurn(
      () =>
        new Promise<void>((resolve) => {
          release = resolve;
        }),
    );
    const deleted = deleteVolume(group, 'filled', false);
    open();
    await machine.until(() => volume.sessions.size === 0);
    release();
    await machine.run(busy);
    expect(await machine.run(deleted)).toBe(true);
    await expect(machine.run(filled)).rejects.toMatchObject({ code: 'volume_not_found' });
  });

  it('does not take another one of its name with it', async () => {
    const { group, volume, filled, stop, create } = await fill('another');
    stop.abort();
    await expect(machine.run(filled)).rejects.toMatchObject({ code: 'source_unreadable' });
    expect(await machine.run(deleteVolume(group, 'filled', true))).toBe(true);
    const { volume: another, writer } = await create();
    must(writer, 'a writer').close();
    expect(await machine.run(deleteVolume(group, 'filled', true, volume))).toBe(false);
    expect(group.volumes.get('filled')).toBe(another);
    expect(await machine.run(deleteVolume(group, 'filled', true, another))).toBe(true);
  });
});
