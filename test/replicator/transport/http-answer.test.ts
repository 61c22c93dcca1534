import { Writable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import { SliceSize, StreamAnswer } from '../../../src/replicator/transport/http-answer.ts';
import { when } from './transport-parts.ts';

/** A stream that takes one write at a time, each when it is told to. */
class Taker extends Writable {
  readonly writes: Buffer[] = [];
  waiting: (() => void) | undefined;

  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.writes.push(Buffer.from(chunk));
    this.waiting = done;
  }

  take(): void {
    const done = this.waiting;
    this.waiting = undefined;
    done?.();
  }
}

function setting() {
  const out = new Taker();
  const size = new SliceSize();
  const time = { now: 0 };
  const stream = {
    out,
    isHead: false,
    sendHead: () => undefined,
    breakOff: () => out.destroy(),
    whenLeft: (run: () => void) => setImmediate(run),
  };
  const answer = new StreamAnswer(
    stream,
    size,
    () => time.now,
    () => undefined,
  );
  return { out, size, time, answer };
}

describe('an answer', () => {
  it('sends everything in order, and gives each piece back once, in order', async () => {
    const run = async (lengths: number[], cut: number | undefined): Promise<void> => {
      const { out, answer } = setting();
      const pieces = lengths.map((length, index) => Buffer.alloc(length, index + 1));
      const taken: number[] = [];
      let gone = 0;
      answer.whenGone(() => {
        gone += 1;
      });
      answer.head(200, {});
      pieces.forEach((piece, index) => answer.send(piece, () => taken.push(index)));
      answer.end();
      let isAllTaken = false;
      for (let step = 0; !out.writableFinished && !out.destroyed; step += 1) {
        isAllTaken = pieces.every(({ length }, index) => length === 0 || taken.includes(index));
        if (step === cut) out.destroy();
        else out.take();
        await new Promise((resolve) => setImmediate(resolve));
      }
      await when('all is given back', () => taken.length === pieces.length);
      const sent = Buffer.concat(out.writes);
      const all = Buffer.concat(pieces);
      const isWhole = out.writableFinished;
      expect(sent.equals(all.subarray(0, sent.length))).toBe(true);
      expect(sent.length === all.length || !isWhole).toBe(true);
      expect(gone).toBe(isWhole || isAllTaken ? 0 : 1);
      // Empty ones need no sending, and are not waited for.
      const waited = taken.filter((index) => (lengths[index] ?? 0) > 0);
      expect(waited).toEqual([...waited].sort((a, b) => a - b));
    };
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(fc.nat(10), fc.nat(2 * MiB)), { maxLength: 5 }),
        fc.option(fc.nat(6), { nil: undefined }),
        run,
      ),
      { numRuns: 60 },
    );
  });

  it('of which nothing is taken shows for how long', async () => {
    const { out, time, answer } = setting();
    answer.head(200, {});
    expect(answer.stalledMilliseconds(1_000)).toBe(0);
    time.now = 100;
    answer.send(Buffer.alloc(300 * KiB), () => undefined);
    expect(answer.stalledMilliseconds(1_100)).toBe(1_000);
    time.now = 2_000;
    out.take();
    await new Promise((resolve) => setImmediate(resolve));
    expect(answer.stalledMilliseconds(2_500)).toBe(500);
    out.take();
    await new Promise((resolve) => setImmediate(resolve));
    expect(answer.stalledMilliseconds(9_000)).toBe(0);
  });

  it('breaks an invariant when the head is not sent first', () => {
    const { answer } = setting();
    expect(() => answer.send(Buffer.alloc(1), () => undefined)).toThrow(/invariant/);
    expect(() => answer.end()).toThrow(/invariant/);
  });
});

describe('slices', () => {
  it('grow while they leave quickly, and shrink where they do not', () => {
    const size = new SliceSize();
    const first = size.bytes;
    size.left(first - 1, 1);
    expect(size.bytes).toBe(first);
    for (let i = 0; i < 10; i += 1) size.left(size.bytes, 1);
    expect(size.bytes).toBe(4 * MiB);
    size.left(size.bytes, 1_000);
    expect(size.bytes).toBe(4 * MiB);
    size.left(size.bytes, 5_000);
    expect(size.bytes).toBe(1 * MiB);
    for (let i = 0; i < 10; i += 1) size.left(size.bytes, 5_000);
    expect(size.bytes).toBe(64 * KiB);
    for (let i = 0; i < 10; i += 1) size.left(size.bytes, 1);
    size.stalled();
    expect(size.bytes).toBe(64 * KiB);
  });
});
