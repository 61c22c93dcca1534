import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HeldUpdates } from '../../../src/group/order/held-updates.ts';
import { ReplyGate } from '../../../src/group/order/reply-gate.ts';

const step = fc.record({
  kind: fc.constantFrom(
    'write',
    'sync',
    'wait',
    'hear',
    'open',
    'hold',
    'release',
    'confirm',
    'all',
  ),
  by: fc.nat({ max: 20 }),
});

describe('a reply gate', () => {
  test('never lets more be answered than is durable, acknowledged and not held, and never goes back while active', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const gate = new ReplyGate(0);
        let newest = 0;
        let durable = 0;
        let acknowledged = Number.POSITIVE_INFINITY;
        let heldBehind = Number.POSITIVE_INFINITY;
        let confirmed = Number.POSITIVE_INFINITY;
        for (const { kind, by } of steps) {
          const wasActive = gate.isActive;
          const before = gate.answerable;
          if (kind === 'write') newest += by;
          if (kind === 'sync') {
            durable = Math.min(newest, durable + by);
            gate.setDurable(durable);
          }
          if (kind === 'wait' && acknowledged === Number.POSITIVE_INFINITY) {
            acknowledged = newest;
            gate.waitForFollowers(newest);
          } else if (kind === 'hear' && acknowledged !== Number.POSITIVE_INFINITY) {
            const heard = Math.max(0, Math.min(durable, acknowledged + by - 5));
            gate.setAcknowledged(heard);
            acknowledged = Math.max(acknowledged, heard);
          } else if (kind === 'open') {
            acknowledged = Number.POSITIVE_INFINITY;
            gate.waitForNobody();
          } else if (kind === 'hold') {
            heldBehind = newest;
            gate.holdBehind(newest);
          } else if (kind === 'release') {
            heldBehind = Number.POSITIVE_INFINITY;
            gate.release();
          } else if (kind === 'confirm') {
            const told = Math.max(0, (Number.isFinite(confirmed) ? confirmed : durable) + by - 5);
            const least = wasActive ? before : told;
            gate.setConfirmed(told);
            confirmed = Math.max(told, Number.isFinite(confirmed) ? confirmed : least);
          } else if (kind === 'all') {
            confirmed = Number.POSITIVE_INFINITY;
            gate.confirmAll();
          }
          const bound = Math.min(acknowledged, heldBehind, confirmed);
          expect(gate.answerable).toBe(Math.min(durable, bound));
          expect(gate.sendable).toBe(Math.min(durable, heldBehind, confirmed));
          const isActive = Number.isFinite(bound);
          expect(gate.isActive).toBe(isActive);
          expect(gate.plainThrough).toBe(isActive ? gate.answerable : Number.POSITIVE_INFINITY);
          expect(gate.answerable).toBeGreaterThanOrEqual(wasActive && isActive ? before : 0);
        }
      }),
    );
  });
});

describe('held updates', () => {
  test('are found where they overlap, until they are released, in a bounded ring', () => {
    const update = fc.record({
      volume: fc.nat({ max: 2 }),
      offset: fc.nat({ max: 63 }),
      length: fc.integer({ min: 1, max: 16 }),
      answered: fc.nat({ max: 3 }),
    });
    fc.assert(
      fc.property(fc.array(update, { maxLength: 6000, size: 'max' }), (updates) => {
        const held = new HeldUpdates();
        const model: { number: number; volume: number; offset: number; length: number }[] = [];
        let number = 0;
        let answerable = 0;
        for (const { volume, offset, length, answered } of updates) {
          const isAdmitted = held.admits(512, 2 ** 30);
          expect(isAdmitted).toBe(model.length < 4096);
          if (isAdmitted) {
            number += 1;
            held.add(number, volume, offset, length, 512);
            model.push({ number, volume, offset, length });
          }
          answerable = Math.min(number, answerable + answered);
          held.releaseThrough(answerable);
          while ((model[0]?.number ?? Number.POSITIVE_INFINITY) <= answerable) model.shift();
          expect(held.count).toBe(model.length);
          const isHeld = model.some(
            (each) => each.volume === volume && each.offset < 40 && 32 < each.offset + each.length,
          );
          expect(held.overlaps(volume, 32, 8)).toBe(isHeld);
        }
      }),
      { numRuns: 20 },
    );
  });

  test('are few bytes of a small journal', () => {
    const held = new HeldUpdates();
    expect(held.admits(2 ** 30, 64)).toBe(true);
    held.add(1, 1, 0, 100, 100);
    expect(held.admits(100, 800)).toBe(true);
    expect(held.admits(101, 800)).toBe(false);
    held.releaseThrough(1);
    expect(held.admits(101, 800)).toBe(true);
  });
});
