import { expect, test, vi } from 'vitest';
import { CheckpointFile } from '../../src/journal/checkpoint.ts';
import { assert, must } from '../../src/platform/assert.ts';
import { blockBytes, MiB } from '../../src/platform/limits.ts';
import type { WorkerPort } from '../../src/platform/worker-port.ts';
import { ApplyWorker } from '../../src/volume/apply.ts';
import type { FromApply, ToApply } from '../../src/volume/apply-messages.ts';
import { BlockTable } from '../../src/volume/block-table.ts';
import {
  areEqual,
  contents,
  disk,
  newPath,
  open,
  pattern,
  useRealFiles,
} from '../platform/real-files.ts';

useRealFiles();

const groupId = '01'.repeat(16);
/** Three tables fill a segment. */
const tableBlocks = 1300;
const pieceBytes = tableBlocks * blockBytes;

/** The worker goes on with a table when the test says so. */
class HeldPort implements WorkerPort<FromApply, ToApply> {
  readonly answers: FromApply['kind'][] = [];
  #handler: ((message: ToApply) => void) | undefined;
  #held: (() => void) | undefined;

  post(message: FromApply): void {
    this.answers.push(message.kind);
  }
  receive(handler: (message: ToApply) => void): void {
    this.#handler = handler;
  }
  soon(run: () => void): void {
    assert(this.#held === undefined, 'one table at a time');
    this.#held = run;
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
  send(message: ToApply): void {
    must(this.#handler, 'the worker receives')(message);
  }
  /** Until nothing is held any more: how often something was. */
  goOn(): number {
    for (let times = 0; ; times += 1) {
      const held = this.#held;
      this.#held = undefined;
      if (!held) return times;
      held();
    }
  }
  get isHeld(): boolean {
    return this.#held !== undefined;
  }
}

test('a checkpoint is made in the middle of a table, of what was applied before it', async () => {
  const checkpointPath = newPath();
  const none = { groupId, applied: 0, released: 0, sequence: 1, offset: 0 };
  CheckpointFile.create(disk, checkpointPath, none);
  const segment = open(newPath(), 'create', 'segment');
  const volume = open(newPath(), 'create', 'volume');
  // Blocks stand in the volume the other way round: none can be written together with the next one.
  volume.truncateSync(64 * MiB);
  const port = new HeldPort();
  const worker = new ApplyWorker(disk, port);
  port.send({ kind: 'open', checkpointPath, preserving: undefined });
  const place = (at: number): number => (tableBlocks - 1 - at) * 2 * blockBytes;
  let number = 0;
  const apply = (seed: number): void => {
    const from = (seed - 1) * pieceBytes;
    segment.writeSync(pattern(pieceBytes, seed), 0, pieceBytes, from);
    const table = new BlockTable(4096);
    for (let at = 0; at < tableBlocks; at += 1) {
      number += 1;
      table.insertData(1, place(at), blockBytes, number, 1, from + at * blockBytes);
    }
    const { memory, count, baseSequence } = table;
    const of = { sequence: 1, path: segment.path, direct: false, lastNumber: number };
    port.send({
      kind: 'apply',
      memory,
      count,
      ranges: [],
      baseSequence,
      segments: [{ ...of, isWhole: false }],
      unreadThrough: 0,
      volumes: [{ id: 1, path: volume.path }],
      isPoint: false,
    });
  };
  const holds = (seed: number): boolean => {
    const expected = pattern(pieceBytes, seed);
    return Array.from({ length: tableBlocks }).every((_, at) =>
      areEqual(
        contents(volume, place(at), blockBytes),
        expected.subarray(at * blockBytes, (at + 1) * blockBytes),
      ),
    );
  };

  apply(1);
  expect(port.answers).toEqual(['applied']);
  const applied = number;
  port.send({ kind: 'checkpoint', checkpoint: { ...none, applied } });
  apply(2);
  // What comes now waits, and is done in order.
  port.send({ kind: 'sync' });
  apply(3);
  expect(port.isHeld).toBe(true);
  await vi.waitFor(() => expect(port.answers).toEqual(['applied', 'checkpointed']));
  expect(CheckpointFile.open(disk, checkpointPath, groupId).checkpoint.applied).toBe(applied);
  expect(holds(2)).toBe(false);
  expect(port.goOn()).toBeGreaterThan(1);
  await vi.waitFor(() => expect(port.answers).toContain('synced'));
  port.goOn();
  expect(port.answers.filter((kind) => kind === 'applied')).toHaveLength(3);
  expect(holds(3)).toBe(true);
  worker.close();
});
