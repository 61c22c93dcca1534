import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MiB, updateNumberMax } from '../../../src/platform/limits.ts';
import {
  decodeHashAnswer,
  decodeHashRange,
  encodeHashAnswer,
  encodeHashRange,
  hashesPath,
  hashRouteOf,
} from '../../../src/replicator/protocol/hash-wire.ts';
import { hashUnitBytes } from '../../../src/volume/unit-hashes.ts';
import { violation } from './violation.ts';

const groupId = 'ab'.repeat(16);

describe('a question for hashes', () => {
  test('comes back from its path and headers', () => {
    fc.assert(
      fc.property(
        fc.nat(0xffff),
        fc.nat(1_000_000),
        fc.integer({ min: 1, max: 64 * MiB }),
        (volume, unit, length) => {
          const range = { offset: unit * hashUnitBytes, length };
          expect(hashRouteOf('GET', hashesPath(groupId, volume))).toEqual({ groupId, volume });
          expect(decodeHashRange(encodeHashRange(range))).toEqual(range);
        },
      ),
    );
  });

  test.each([
    ['POST', hashesPath(groupId, 1)],
    ['GET', hashesPath('main', 1)],
    ['GET', hashesPath(groupId, 65536)],
    ['GET', `${hashesPath(groupId, 1)}/`],
  ])('is none: %s %s', (method, path) => {
    expect(hashRouteOf(method, path)).toBeUndefined();
  });

  test.each([
    ['jnbd-offset', '1'],
    ['jnbd-offset', '-65536'],
    ['jnbd-offset', undefined],
    ['jnbd-length', '0'],
    ['jnbd-length', String(64 * MiB + 1)],
    ['jnbd-length', '1.5'],
  ])('is refused with %s: %s', (name, value) => {
    const headers: Record<string, string> = { ...encodeHashRange({ offset: 0, length: 1 }) };
    if (value === undefined) delete headers[name];
    else headers[name] = value;
    expect(violation(() => decodeHashRange(headers)).message).toContain(name);
  });
});

test('the head of the answer comes back', () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 0, max: updateNumberMax }), (sizeBytes, number) => {
      const shows = { generation: 3, incarnation: 77, number };
      expect(decodeHashAnswer(encodeHashAnswer({ sizeBytes, shows }))).toEqual({
        sizeBytes,
        shows,
      });
    }),
  );
  expect(violation(() => decodeHashAnswer({ 'jnbd-size': '1' })).message).toContain('jnbd-shows');
});
