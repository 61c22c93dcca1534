import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { paceBatchBytesMax, paceBatchBytesMin } from '../../../src/platform/limits.ts';
import {
  noMeasures,
  noteRead,
  noteStart,
  type ReadOutcome,
} from '../../../src/replicator/follower/pace-measures.ts';

const MiB = 2 ** 20;

function read(startedAt: number, endedAt: number, bytes: number, asked = MiB): ReadOutcome {
  return {
    startedAtMilliseconds: startedAt,
    endedAtMilliseconds: endedAt,
    askedBytes: asked,
    bytes,
    records: bytes / 4096,
  };
}

describe('measures', () => {
  it('tell the rate of what comes', () => {
    let measures = noMeasures;
    for (let at = 0; at < 1000; at += 20) {
      measures = noteRead(noteStart(measures, at), read(at, at + 1, 40_960));
    }
    expect(measures.bytes / measures.spanMilliseconds).toBeCloseTo(2048, -2);
    expect(measures.records / measures.spanMilliseconds).toBeCloseTo(0.5, 1);
    expect(measures.lastStartMilliseconds).toBe(980);
  });

  it('do not remember a long silence for long', () => {
    let measures = noteRead(noMeasures, read(0, 3_600_000, 4096));
    for (let i = 1; i <= 10; i += 1) {
      const at = 3_600_000 + i * 10;
      measures = noteRead(noteStart(measures, at), read(at, at + 10, 100_000));
    }
    expect(measures.bytes / measures.spanMilliseconds).toBeGreaterThan(5000);
  });

  it('know whether anything came', () => {
    expect(noteRead(noMeasures, read(0, 1, 0)).broughtNothing).toBe(true);
    expect(noteRead(noMeasures, read(0, 1, 1)).broughtNothing).toBe(false);
  });

  it('let batches grow that come full, and shrink those that come empty', () => {
    const { batchBytes } = noMeasures;
    expect(noteRead(noMeasures, read(0, 1, MiB)).batchBytes).toBe(2 * batchBytes);
    expect(noteRead(noMeasures, read(0, 1, MiB / 2)).batchBytes).toBe(batchBytes);
    expect(noteRead(noMeasures, read(0, 1, 0)).batchBytes).toBe(batchBytes / 2);
  });

  it('keep their bounds, in whatever order reads end', () => {
    const outcome = fc
      .tuple(fc.nat(10_000), fc.nat(10_000), fc.nat(paceBatchBytesMax), fc.nat(paceBatchBytesMax))
      .map(([start, took, bytes, asked]) => read(start, start + took, bytes, asked));
    fc.assert(
      fc.property(fc.array(outcome, { maxLength: 50 }), (outcomes) => {
        let measures = noMeasures;
        for (const each of outcomes) {
          const before = measures;
          measures = noteRead(measures, each);
          expect(measures.batchBytes).toBeGreaterThanOrEqual(paceBatchBytesMin);
          expect(measures.batchBytes).toBeLessThanOrEqual(paceBatchBytesMax);
          expect(measures.spanMilliseconds).toBeGreaterThan(0);
          expect(measures.bytes).toBeGreaterThanOrEqual(each.bytes);
          expect(measures.lastEndMilliseconds).toBeGreaterThanOrEqual(
            before.lastEndMilliseconds ?? 0,
          );
        }
      }),
    );
  });

  it('shrink batches no less for having brought less', () => {
    fc.assert(
      fc.property(fc.nat(MiB), fc.nat(MiB), (a, b) => {
        const [less, more] = [Math.min(a, b), Math.max(a, b)];
        expect(noteRead(noMeasures, read(0, 1, less)).batchBytes).toBeLessThanOrEqual(
          noteRead(noMeasures, read(0, 1, more)).batchBytes,
        );
      }),
    );
  });
});
