import { describe, expect, test } from 'vitest';
import {
  decodeContentsRange,
  decodeHashedRange,
  encodeViewRange,
  verifyPaths,
  verifyRouteOf,
} from '../../../src/replicator/protocol/wire-verify.ts';

const groupId = '0123456789abcdef0123456789abcdef';

describe('what systems ask to compare what they have', () => {
  test('is found by its path', () => {
    const one = verifyPaths.one(groupId, 7);
    expect(verifyRouteOf('POST', verifyPaths.begin(groupId))).toEqual({ kind: 'begin', groupId });
    expect(verifyRouteOf('POST', one)).toEqual({ kind: 'renew', groupId, number: 7 });
    expect(verifyRouteOf('DELETE', one)).toEqual({ kind: 'end', groupId, number: 7 });
    expect(verifyRouteOf('GET', verifyPaths.checks(groupId))).toEqual({ kind: 'checks', groupId });
    for (const kind of ['hashes', 'contents'] as const) {
      const path = verifyPaths.view(groupId, 7, 3, kind);
      expect(verifyRouteOf('GET', path)).toEqual({ kind, groupId, number: 7, volume: 3 });
      expect(verifyRouteOf('POST', path)).toBeUndefined();
    }
    expect(verifyRouteOf('GET', one)).toBeUndefined();
    expect(verifyRouteOf('GET', verifyPaths.begin(groupId))).toBeUndefined();
    expect(verifyRouteOf('POST', verifyPaths.begin(groupId.toUpperCase()))).toBeUndefined();
    expect(verifyRouteOf('GET', `/v1/groups/${groupId}/volumes/1/hashes`)).toBeUndefined();
  });

  test('is about whole units, and not about more than fits an answer', () => {
    const range = { offset: 65536, length: 1000 };
    expect(decodeHashedRange(encodeViewRange(range, 65536))).toEqual({
      ...range,
      unitBytes: 65536,
    });
    expect(decodeHashedRange(encodeViewRange({ offset: 4096, length: 1 }, 4096))).toEqual({
      offset: 4096,
      length: 1,
      unitBytes: 4096,
    });
    expect(decodeContentsRange(encodeViewRange(range))).toEqual(range);
    for (const [offset, length, unitBytes] of [
      [4096, 1, 65536],
      [0, 0, 4096],
      [0, 4 * 1024 * 1024 + 1, 4096],
      [0, 64 * 1024 * 1024 + 1, 65536],
      [0, 1, 512],
    ] as const) {
      expect(() => decodeHashedRange(encodeViewRange({ offset, length }, unitBytes))).toThrow(
        /header jnbd-/,
      );
    }
    expect(() => decodeContentsRange(encodeViewRange({ offset: 1, length: 1 }))).toThrow(
      'jnbd-offset',
    );
    expect(() => decodeHashedRange({})).toThrow('missing');
  });
});
