import { describe, expect, test } from 'vitest';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import { BatchBuffers } from '../../../src/replicator/source/batch-buffers.ts';
import { SourceBatch } from '../../../src/replicator/source/source-batch.ts';
import { ColdReads, SourceFiles } from '../../../src/replicator/source/source-files.ts';
import { SourceJournal } from '../../../src/replicator/source/source-journal.ts';
import type { ToSource } from '../../../src/replicator/source/source-messages.ts';
import { SourceFeed } from '../../../src/replicator/source/source-feed.ts';
import { fillRecords } from '../../../src/replicator/source/source-records.ts';
import type { SimulatedMachine } from '../../journal/simulated-system.ts';
import { serve } from '../../journal/volume-under-test.ts';

/** A journal as a worker knows it that is told of what there is now, and of nothing later. */
function known(machine: SimulatedMachine): SourceJournal {
  const { disk, clock } = machine;
  let journal: SourceJournal | undefined;
  const feed = new SourceFeed(machine.group(), 5, clock, (message: ToSource) => {
    if (message.kind === 'group') {
      const files = new SourceFiles(disk, new ColdReads());
      journal ??= new SourceJournal(clock, files, message.picture, message.durable);
    }
    if (message.kind === 'progress') journal?.advance(message.progress);
  });
  feed.close(false);
  if (!journal) throw new Error('the feed told of the journal');
  return journal;
}

async function fill(machine: SimulatedMachine, journal: SourceJournal, first: number) {
  const buffers = new BatchBuffers(1, 1 * MiB);
  const reader = {};
  buffers.join(reader);
  const buffer = await buffers.take(reader);
  if (!buffer) throw new Error('there is a buffer');
  return machine.run(
    fillRecords(journal, new SourceBatch(buffer, 1 * MiB), first, journal.servable),
  );
}

describe('records of a segment', () => {
  test('that was released and is used again meanwhile are never taken for those it had', async () => {
    const setting = await serve('reused', { sizeBytes: 4 * MiB });
    const { machine } = setting;
    machine.group().followers.register(7, 'reader', 0);
    await setting.writeMuch(300, 100 * KiB);
    await setting.flush();
    const journal = known(machine);
    const path = journal.placeOf(2)?.segment.place.path ?? '';
    expect((await fill(machine, journal, 2)).through).toBeGreaterThan(2);
    machine.group().followers.drop(7);
    const reused = (): boolean =>
      [...machine.group().chain.live()].some(
        ({ file, beginsAt }) => file.path === path && beginsAt > 300,
      );
    for (let i = 0; i < 100 && !reused(); i += 1) {
      await setting.writeMuch(20, 100 * KiB);
      await setting.flush();
      machine.group().hurryApply();
      await machine.pass(500);
    }
    expect(reused()).toBe(true);
    await expect(fill(machine, journal, 2)).rejects.toMatchObject({
      code: 'record_unreadable',
      kind: 'retryable',
      message: expect.stringContaining(path) as string,
    });
  });

  test('are found wherever a reader begins', async () => {
    const setting = await serve('anywhere', { sizeBytes: 4 * MiB });
    const { machine } = setting;
    machine.group().followers.register(7, 'reader', 0);
    for (let i = 0; i < 60; i += 1) {
      await setting.writeMuch(10, machine.random.pick([512, 4096, 200 * KiB]));
      if (i % 4 === 0) await setting.flush();
    }
    await setting.flush();
    const journal = known(machine);
    const { durable } = machine.group().watermarks;
    for (let i = 0; i < 200; i += 1) {
      const first = machine.random.between(1, durable);
      const { through } = await fill(machine, journal, first);
      expect(through).toBeGreaterThanOrEqual(first);
    }
    expect(await fill(machine, journal, durable)).toMatchObject({ through: durable });
  });
});
