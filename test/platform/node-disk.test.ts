import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { KiB, MiB } from '../../src/platform/limits.ts';
import * as fileSpace from '../../src/platform/file-space.ts';
import * as systemCalls from '../../src/platform/system-calls.ts';
import {
  areEqual,
  canMount,
  codeOf,
  contents,
  directory,
  disk,
  isRoot,
  mounted,
  newPath,
  open,
  pattern,
  useRealFiles,
} from './real-files.ts';

useRealFiles();

test('files open as their mode says', () => {
  const file = newPath();
  expect(codeOf(() => open(file, 'read'))).toBe('ENOENT');
  expect(codeOf(() => open(file, 'read-write'))).toBe('ENOENT');
  open(file, 'create').writeSync(pattern(10), 0, 10, 0);
  expect(fs.statSync(file).mode & 0o777).toBe(0o600);
  expect(codeOf(() => open(file, 'create'))).toBe('EEXIST');
  expect(open(file, 'open-or-create').sizeSync()).toBe(10);
  const readOnly = open(file, 'read');
  expect(codeOf(() => readOnly.writeSync(pattern(10), 0, 10, 0))).toBe('EBADF');
  expect(contents(readOnly, 0, 10)).toEqual(pattern(10));
});

test('small files are replaced as a whole', () => {
  const file = newPath();
  expect(disk.readFileSync(file, 'catalog')).toBeUndefined();
  disk.replaceFileSync(file, pattern(10_000), 'catalog');
  disk.replaceFileSync(file, pattern(100, 2), 'catalog');
  expect(Uint8Array.from(disk.readFileSync(file, 'catalog') ?? [])).toEqual(pattern(100, 2));
  disk.replaceFileSync(file, new Uint8Array(0), 'catalog');
  expect(disk.readFileSync(file, 'catalog')).toHaveLength(0);
  expect(fs.existsSync(`${file}.tmp`)).toBe(false);
  fs.mkdirSync(`${file}-directory`);
  expect(codeOf(() => disk.replaceFileSync(`${file}-directory`, pattern(10), 'catalog'))).toBe(
    'EISDIR',
  );
  expect(fs.existsSync(`${file}-directory.tmp`)).toBe(false);
});

test('directories are made with their parents, listed and removed', () => {
  const base = newPath();
  const deep = path.join(base, 'a', 'b', 'c');
  disk.makeDirectorySync(deep);
  disk.makeDirectorySync(deep);
  expect(disk.isDirectorySync(deep)).toBe(true);
  for (const name of ['2', '10', 'a']) open(path.join(deep, name));
  expect(disk.listSync(deep)).toEqual(['10', '2', 'a']);
  expect(disk.isDirectorySync(path.join(deep, 'a'))).toBe(false);
  expect(disk.existsSync(path.join(deep, 'a'))).toBe(true);
  expect(disk.existsSync(path.join(deep, 'a', 'under a file'))).toBe(false);
  expect(codeOf(() => disk.makeDirectorySync(path.join(deep, 'a')))).toBe('EEXIST');
  expect(codeOf(() => disk.makeDirectorySync(path.join(deep, 'a', 'b')))).toMatch(/EEXIST|ENOTDIR/);
  expect(codeOf(() => disk.removeDirectorySync(deep))).toBe('ENOTEMPTY');
  for (const name of ['2', '10', 'a']) disk.removeFileSync(path.join(deep, name));
  disk.syncDirectorySync(deep);
  disk.removeDirectorySync(deep);
  expect(disk.existsSync(deep)).toBe(false);
  expect(codeOf(() => disk.removeFileSync(deep))).toBe('ENOENT');
  expect(codeOf(() => disk.listSync(deep))).toBe('ENOENT');
  expect(codeOf(() => disk.syncDirectorySync(deep))).toBe('ENOENT');
});

test('free space and the kind of device are told', () => {
  expect(disk.freeBytesSync(directory)).toBeGreaterThan(0);
  const statfs = fs.statfsSync(directory);
  expect(Math.abs(disk.freeBytesSync(directory) - statfs.bavail * statfs.bsize)).toBeLessThan(
    4096 * MiB,
  );
  expect(disk.isRotationalSync('/proc')).toBe(false);
  expect(disk.isRotationalSync(path.join(directory, 'absent'))).toBe(false);
  const { dev } = fs.statSync(directory);
  const device = `/sys/dev/block/${(dev >> 8) & 0xfff}:${dev & 0xff}`;
  const flag = [`${device}/queue/rotational`, `${device}/../queue/rotational`].find(fs.existsSync);
  const expected = flag === undefined ? '0' : fs.readFileSync(flag, 'latin1').trim();
  expect(disk.isRotationalSync(directory)).toBe(expected === '1');
});

test('a lock excludes this process and every other until released or its holder dies', async () => {
  const file = newPath();
  expect(disk.isLockedSync(file)).toBe(false);
  expect(fs.existsSync(file)).toBe(false);
  const lock = disk.lockSync(file);
  expect(lock).toBeDefined();
  expect(disk.lockSync(file)).toBeUndefined();
  expect(disk.isLockedSync(file)).toBe(true);
  const holder = new URL('./lock-holder.ts', import.meta.url).pathname;
  const other = path.join(directory, 'other-lock');
  function hold(lockPath: string): string {
    const options = ['--import', import.meta.resolve('tsx'), holder, lockPath];
    return execFileSync(process.execPath, options, { encoding: 'utf8' }).trim();
  }
  expect(hold(file)).toBe('held by another');
  lock?.release();
  lock?.release();
  expect(disk.isLockedSync(file)).toBe(false);
  expect(hold(file)).toBe('locked');

  const child = spawn(process.execPath, [
    '--import',
    import.meta.resolve('tsx'),
    holder,
    other,
    'stay',
  ]);
  const exited = new Promise((resolve) => child.once('exit', resolve));
  await new Promise((resolve) => child.stdout.once('data', resolve));
  expect(disk.isLockedSync(other)).toBe(true);
  expect(disk.lockSync(other)).toBeUndefined();
  child.kill('SIGKILL');
  await exited;
  const taken = disk.lockSync(other);
  expect(taken).toBeDefined();
  taken?.release();
});

test.skipIf(!isRoot)('what may not be opened or looked at is an error, not an absence', () => {
  const closed = newPath();
  fs.mkdirSync(closed, 0o700);
  fs.chmodSync(directory, 0o755);
  fs.writeFileSync(path.join(closed, 'x'), 'x');
  const probe = new URL('./access-probe.ts', import.meta.url).pathname;
  const options = ['--import', import.meta.resolve('tsx'), probe, closed];
  const output = execFileSync(process.execPath, options, { encoding: 'utf8' });
  expect(JSON.parse(output)).toEqual({
    open: 'EACCES',
    create: 'EACCES',
    read: 'EACCES',
    exists: 'EACCES',
    list: 'EACCES',
    replace: 'EACCES',
    makeDirectory: 'EACCES',
    existingDirectory: 'done',
    lock: 'EACCES',
  });
});

test.skipIf(!canMount)('a full file system: ENOSPC, and space comes back', () => {
  const mount = mounted('tmpfs', 'size=1m', 'jnbd-test');
  expect(disk.freeBytesSync(mount)).toBe(1 * MiB);
  const file = open(path.join(mount, 'x'));
  const bytes = pattern(2 * MiB);
  expect(codeOf(() => file.writeSync(bytes, 0, 2 * MiB, 0))).toBe('ENOSPC');
  expect(disk.freeBytesSync(mount)).toBe(0);
  const replace = (): void => disk.replaceFileSync(path.join(mount, 'y'), bytes, 'catalog');
  expect(codeOf(replace)).toBe('ENOSPC');
  expect(disk.listSync(mount)).toEqual(['x']);
  expect(codeOf(() => file.preallocateSync(2 * MiB, 2 * MiB))).toBe('ENOSPC');
  file.punchHoleSync(0, 2 * MiB);
  expect(disk.freeBytesSync(mount)).toBe(1 * MiB);
  file.writeSync(bytes, 0, 512 * KiB, 0);
  // No ZERO_RANGE on tmpfs: zeroes are written.
  file.zeroRangeSync(1000, 100_000);
  expect(areEqual(contents(file, 1000, 100_000), new Uint8Array(100_000))).toBe(true);
  expect(contents(file, 101_000, 1000)).toEqual(bytes.subarray(101_000, 102_000));
  expect(file.readIfCachedSync(new Uint8Array(4096), 0, 4096, 0)).toBe(4096);
});

test('a file that would grow over a limit: EFBIG, and what fits is written', () => {
  const probe = new URL('./size-limit-probe.ts', import.meta.url).pathname;
  const command = `ulimit -f 64; exec "$0" --import "$1" "$2" "$3"`;
  const options = ['-c', command, process.execPath, import.meta.resolve('tsx'), probe, newPath()];
  const output = execFileSync('bash', options, { encoding: 'utf8' });
  expect(JSON.parse(output)).toEqual({ code: 'EFBIG', sizeBytes: 64 * KiB });
});

test('calls on what is not open fail with the system’s code', () => {
  expect(codeOf(() => fileSpace.punchHole(-1, 0, 4096))).toBe('EBADF');
  expect(codeOf(() => fileSpace.seekData(-1, 0))).toBe('EBADF');
  expect(codeOf(() => systemCalls.lockExclusively(-1))).toBe('EBADF');
  expect(codeOf(() => fileSpace.cloneRange(-1, 0, -1, 0, 4096))).toBe('EBADF');
  expect(codeOf(() => systemCalls.readCached(-1, new Uint8Array(8), 0, 8, 0))).toBe('EBADF');
  const pipe = execFileSync('mktemp', ['-u', path.join(directory, 'pipe-XXXX')], {
    encoding: 'utf8',
  });
  execFileSync('mkfifo', [pipe.trim()]);
  const descriptor = fs.openSync(pipe.trim(), fs.constants.O_RDWR);
  onTestFinished(() => fs.closeSync(descriptor));
  expect(codeOf(() => fileSpace.preallocate(descriptor, 0, 4096))).toBe('ESPIPE');
});

test('what a large file had is given back by another thread, whoever closed it last', async () => {
  const file = newPath();
  const held = open(file);
  held.writeSync(pattern(20 * MiB), 0, 20 * MiB, 0);
  const isHeld = (): boolean =>
    fs.readdirSync('/proc/self/fd').some((each) => {
      try {
        return fs.readlinkSync(`/proc/self/fd/${each}`) === `${file} (deleted)`;
      } catch {
        return false;
      }
    });
  disk.removeFileSync(file);
  expect(fs.existsSync(file)).toBe(false);
  expect(contents(held, 19 * MiB, 16)).toEqual(pattern(20 * MiB).subarray(19 * MiB, 19 * MiB + 16));
  held.closeSync();
  expect(isHeld()).toBe(true);
  await vi.waitFor(() => expect(isHeld()).toBe(false), 10_000);
});
