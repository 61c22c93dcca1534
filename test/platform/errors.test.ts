import { constants } from 'node:os';
import { expect, test } from 'vitest';
import { refusedBySystem, systemErrorCode } from '../../src/platform/errors.ts';
import { systemError } from '../../src/platform/native.ts';

test('a system error has its name, also where Node has none for it', () => {
  const { EDQUOT, ENOSPC } = constants.errno;
  const byNode = Object.assign(new Error('Unknown system error -122: ..., write'), {
    errno: -EDQUOT,
    code: `Unknown system error ${-EDQUOT}`,
  });
  for (const error of [byNode, systemError(EDQUOT, 'fallocate')]) {
    expect(systemErrorCode(error)).toBe('EDQUOT');
    expect(refusedBySystem(error, 'write_failed', 'writing')?.code).toBe('disk_full');
  }
  expect(systemErrorCode(systemError(ENOSPC, 'write'))).toBe('ENOSPC');
  expect(systemErrorCode(new Error('plain'))).toBeUndefined();
  expect(refusedBySystem(new Error('plain'), 'write_failed', 'writing')).toBeUndefined();
});
