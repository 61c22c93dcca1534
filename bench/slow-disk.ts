import { spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { accepts, Child, runChecked, until } from '../test/support/children.ts';
import { missingPrograms, requireProgram } from '../test/support/tools.ts';

/** Where writing is slow. */
export interface SlowPlace {
  readonly path: string;
  /** What a program is to be started under for it to be slow. */
  readonly wrapper: readonly string[];
  remove(): void;
}

/** What a plain writer gets there: bytes a second of `bytes` written and synced. */
export async function measurePlace(place: SlowPlace, bytes: number): Promise<number> {
  const probe = join(place.path, 'probe');
  const count = Math.ceil(bytes / 1024 / 1024);
  const write = ['if=/dev/zero', `of=${probe}`, 'bs=1M', `count=${count}`];
  const [command, ...args] = [...place.wrapper, 'dd', ...write, 'conv=fdatasync', 'status=none'];
  const started = performance.now();
  await runChecked(command ?? 'dd', args);
  const seconds = (performance.now() - started) / 1000;
  rmSync(probe);
  return bytes / seconds;
}

const diskBytes = 24 * 1024 ** 3;

/** What is missing for a slow disk, in words. */
export function missingForSlowDisk(): string[] {
  const missing = missingPrograms('nbdkit', 'nbdfuse', 'losetup', 'mkfs.ext4', 'mount', 'umount');
  return process.getuid?.() === 0 ? missing : [...missing, 'root'];
}

/**
 * An ext4 whose device takes only so many bytes a second, whoever writes: a sparse file behind nbdkit's
 * rate filter, as a file by nbdfuse, as a device by loop.
 */
export class SlowDisk implements SlowPlace {
  readonly path: string;
  readonly wrapper: readonly string[] = [];
  readonly #fuse: string;
  readonly #undo: (() => void)[] = [];
  #device = '';

  private constructor(directory: string) {
    this.path = join(directory, 'disk');
    this.#fuse = join(directory, 'fuse');
    // An end that nobody planned must not leave mounts behind: before the servers below them are killed.
    process.prependOnceListener('exit', () => this.remove());
  }

  static async make(directory: string, bytesPerSecond: number): Promise<SlowDisk> {
    const disk = new SlowDisk(directory);
    try {
      await disk.#make(directory, bytesPerSecond);
    } catch (error) {
      disk.remove();
      throw error;
    }
    return disk;
  }

  async #make(directory: string, bytesPerSecond: number): Promise<void> {
    const file = join(directory, 'disk.image');
    const descriptor = openSync(file, 'w');
    ftruncateSync(descriptor, diskBytes);
    closeSync(descriptor);
    mkdirSync(this.path);
    mkdirSync(this.#fuse);

    const socket = join(directory, 'rate.socket');
    const server = new Child(
      requireProgram('nbdkit'),
      [
        ['--foreground', '--unix', socket, '--filter=rate', 'file', file],
        // The filter counts bits, and by default lets two seconds' worth pass at once.
        [`rate=${bytesPerSecond * 8}`, 'burstiness=0.25'],
      ].flat(),
    );
    this.#undo.push(() => server.signal('SIGKILL'));
    await until(
      () => `nbdkit does not listen: ${server.output}`,
      10,
      () => accepts({ path: socket }),
    );
    const fuse = new Child(requireProgram('nbdfuse'), [`${this.#fuse}/`, '--unix', socket]);
    this.#undo.push(() => spawnSync('umount', ['--lazy', this.#fuse]));
    const device = join(this.#fuse, 'nbd');
    await until(
      () => `nbdfuse does not serve: ${fuse.output}`,
      10,
      async () => (await runChecked('ls', [this.#fuse])).stdout.includes('nbd'),
    );
    this.#device = (await runChecked('losetup', ['--find', '--show', device])).stdout.trim();
    this.#undo.push(() => spawnSync('losetup', ['--detach', this.#device]));
    await runChecked(
      requireProgram('mkfs.ext4'),
      [['-q', '-E', 'nodiscard,lazy_itable_init=1,lazy_journal_init=1'], this.#device].flat(),
    );
    await runChecked('mount', ['-o', 'noatime', this.#device, this.path]);
    this.#undo.push(() => {
      // Lazily where a daemon that is still to be killed holds files open.
      if (spawnSync('umount', [this.path]).status !== 0) spawnSync('umount', ['--lazy', this.path]);
    });
  }

  /** In the reverse order of making; what was not made is not undone. */
  remove(): void {
    for (let undo = this.#undo.pop(); undo; undo = this.#undo.pop()) undo();
  }
}
