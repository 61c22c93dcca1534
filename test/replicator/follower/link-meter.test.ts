import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { must } from '../../../src/platform/assert.ts';
import { LinkMeter } from '../../../src/replicator/follower/link-meter.ts';

const MiB = 2 ** 20;

describe('what a link carries', () => {
  it('is not known from little', () => {
    const meter = new LinkMeter();
    expect(meter.bytesPerMillisecond).toBeUndefined();
    const body = meter.begin(4096, 0);
    body.received(4096, 1);
    body.end(1);
    expect(meter.bytesPerMillisecond).toBeUndefined();
    const fast = meter.begin(MiB, 1);
    fast.received(MiB, 1.1);
    expect(meter.bytesPerMillisecond).toBeUndefined();
  });

  it('is told by bytes and the time they were on their way, without the time between', () => {
    const meter = new LinkMeter();
    for (let at = 0; at < 100_000; at += 1000) {
      const body = meter.begin(MiB, at);
      body.received(MiB / 2, at + 5);
      body.received(MiB / 2, at + 10);
      body.end(at + 10);
    }
    expect(meter.bytesPerMillisecond).toBeCloseTo(MiB / 10, -2);
  });

  it('is that of all connections together', () => {
    const meter = new LinkMeter();
    const bodies = [0, 1].map(() => meter.begin(10 * MiB, 0));
    for (let at = 1; at <= 100; at += 1) {
      for (const body of bodies) body.received(MiB / 10, at);
    }
    for (const body of bodies) body.end(100);
    const measured = must(meter.bytesPerMillisecond, 'a measure');
    expect(measured / (MiB / 5)).toBeGreaterThan(0.95);
    expect(measured / (MiB / 5)).toBeLessThan(1.05);
  });

  it('forgets what was', () => {
    const meter = new LinkMeter();
    let now = 0;
    const arrive = (bytesEach: number, count: number) => {
      const body = meter.begin(bytesEach * count, now);
      for (let i = 0; i < count; i += 1) body.received(bytesEach, (now += 10));
      body.end(now);
    };
    arrive(MiB, 1000);
    arrive(MiB / 10, 1000);
    expect(must(meter.bytesPerMillisecond, 'a measure')).toBeLessThan(MiB / 90);
  });

  it('knows what is on its way', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ bytes: fc.nat(MiB), comes: fc.nat(100) }), { maxLength: 20 }),
        (bodies) => {
          const meter = new LinkMeter();
          const open = bodies.map(({ bytes, comes }, at) => {
            const body = meter.begin(bytes, at);
            const came = Math.floor((bytes * comes) / 100);
            body.received(came, at);
            return { body, left: bytes - came };
          });
          expect(meter.inFlightBytes).toBe(open.reduce((sum, { left }) => sum + left, 0));
          for (const { body } of open) {
            body.end(100);
            body.end(101);
          }
          expect(meter.inFlightBytes).toBe(0);
        },
      ),
    );
  });

  it('does not take more than was announced', () => {
    const body = new LinkMeter().begin(10, 0);
    expect(() => body.received(11, 1)).toThrow(/no more bytes than it says \(11, 10\)/);
    body.end(2);
    expect(() => body.received(1, 3)).toThrow(/invariant/);
  });
});
