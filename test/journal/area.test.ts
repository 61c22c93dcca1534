import { unlinkSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createArea, openArea } from '../../src/journal/area.ts';
import { nodeClock } from '../../src/platform/clock.ts';
import { JnbdError, systemErrorCode } from '../../src/platform/errors.ts';
import { NodeDisk } from '../../src/platform/node-disk.ts';
import { systemError } from '../../src/platform/native.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';

const identity = { formatVersion: 1, groupId: 'ab'.repeat(16), areaId: 'cd'.repeat(8) } as const;
let directory: TemporaryDirectory;

beforeEach(() => {
  directory = temporaryDirectory('area');
});

afterEach(() => directory.remove());

async function failure(disk: NodeDisk, path: string): Promise<JnbdError> {
  const error: unknown = await createArea(disk, nodeClock, path, identity, 1).catch((e) => e);
  expect(error).toBeInstanceOf(JnbdError);
  return error as JnbdError;
}

describe('a journal directory that cannot be made', () => {
  test.each(['file', 'file/below', 'file/far/below'])('because of a file: %s', async (name) => {
    writeFileSync(join(directory.path, 'file'), '');
    const path = join(directory.path, name);
    const error = await failure(new NodeDisk(), path);
    expect(error.code).toBe('write_failed');
    expect(error.message).toContain(`cannot make journal directory ${path}: E`);
    expect(error.message).toContain('something on the way there is a file');
    expect(error.cause).toMatchObject({ code: /ENOTDIR|EEXIST/ });
  });

  test.each([
    ['EACCES', 'write_failed', /let the user of the daemon write there/],
    ['EROFS', 'write_failed', /mount it for writing/],
    ['ENOSPC', 'disk_full', /free space there/],
    ['EDQUOT', 'disk_full', /quota.*free space there/],
    ['EIO', 'write_failed', /name another directory/],
  ] as const)('because of %s', async (name, code, hint) => {
    const disk = new NodeDisk();
    const path = join(directory.path, 'area');
    vi.spyOn(disk, 'makeDirectorySync').mockImplementation(() => {
      throw systemError(constants.errno[name], 'mkdir');
    });
    const error = await failure(disk, path);
    expect(error.code).toBe(code);
    expect(error.message).toContain(`cannot make journal directory ${path}: E`);
    expect(error.message).toMatch(hint);
    expect(systemErrorCode(error.cause)).toBe(name);
  });
});

describe('a journal directory without its identity', () => {
  test('is told by the file that is missing, and opens once that is written again', async () => {
    const disk = new NodeDisk();
    const path = join(directory.path, 'area');
    await createArea(disk, nodeClock, path, identity, 2);
    const file = join(path, 'area');
    unlinkSync(file);
    const area = openArea(disk, path, identity);
    expect(area.state).toBe('missing');
    expect(area.failure).toContain(`has segments, but ${file} is missing`);
    writeFileSync(file, /its one line is (.*)$/.exec(area.failure)?.[1] ?? '');
    expect(openArea(disk, path, identity)).toMatchObject({ state: 'healthy', slots: 2 });
  });

  test('may be an empty place that nothing is mounted at', () => {
    const area = openArea(new NodeDisk(), directory.path, identity);
    expect(area.state).toBe('missing');
    expect(area.failure).toMatch(/holds no journal, .*\/area is missing; mount/);
  });
});
