import { existsSync, mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { missingPrograms } from '../test/support/tools.ts';
import type { SlowPlace } from './slow-disk.ts';

interface Hierarchy {
  readonly path: string;
  readonly version: 1 | 2;
}

/** Where control groups can limit I/O: version 2 with the io controller, else version 1's blkio. */
function findHierarchy(): Hierarchy | undefined {
  let blkio: Hierarchy | undefined;
  for (const line of readFileSync('/proc/mounts', 'utf8').split('\n')) {
    const [, path = '', type, options = ''] = line.split(' ');
    if (type === 'cgroup2') {
      const controllers = join(path, 'cgroup.controllers');
      if (existsSync(controllers) && /\bio\b/.test(readFileSync(controllers, 'utf8'))) {
        return { path, version: 2 };
      }
    }
    if (type === 'cgroup' && options.split(',').includes('blkio')) blkio = { path, version: 1 };
  }
  return blkio;
}

/** `major:minor` of the whole disk under a path: a partition cannot be limited by itself. */
function diskUnder(path: string): string | undefined {
  const device = statSync(path).dev;
  const major = Math.floor(device / 256) & 0xfff;
  const minor = (device & 0xff) | ((Math.floor(device / 2 ** 20) & 0xfff) << 8);
  const known = `/sys/dev/block/${major}:${minor}`;
  if (!existsSync(known)) return undefined;
  const whole = existsSync(`${known}/partition`) ? `${known}/../dev` : `${known}/dev`;
  return readFileSync(whole, 'utf8').trim();
}

export function missingForIoLimit(directory: string): string[] {
  const missing = missingPrograms('sh', 'dd');
  if (process.getuid?.() !== 0) missing.push('root');
  if (!findHierarchy()) missing.push('control groups that limit I/O');
  if (diskUnder(directory) === undefined) missing.push(`a disk of its own under ${directory}`);
  return missing;
}

/**
 * A directory on the real disk, and a control group whose members may write only so many bytes a second.
 * Version 1 does not hold what the kernel writes back by itself: it is a limit for who syncs what it
 * wrote, as our daemon does.
 */
export function limitIo(directory: string, bytesPerSecond: number): SlowPlace {
  const hierarchy = findHierarchy();
  const disk = diskUnder(directory);
  if (!hierarchy || disk === undefined) throw new Error(missingForIoLimit(directory).join(', '));
  const group = join(hierarchy.path, `jnbd-stall-${process.pid}`);
  if (hierarchy.version === 2) {
    writeFileSync(join(dirname(group), 'cgroup.subtree_control'), '+io');
  }
  mkdirSync(group);
  const place: SlowPlace = {
    path: directory,
    wrapper: ['sh', '-c', `echo $$ > ${group}/cgroup.procs && exec "$@"`, 'sh'],
    remove() {
      // It goes when its last process has gone.
      if (existsSync(group)) rmdirSync(group);
    },
  };
  try {
    if (hierarchy.version === 2) {
      writeFileSync(join(group, 'io.max'), `${disk} wbps=${bytesPerSecond}`);
    } else {
      const limit = `${disk} ${bytesPerSecond}`;
      writeFileSync(join(group, 'blkio.throttle.write_bps_device'), limit);
    }
  } catch (error) {
    place.remove();
    throw error;
  }
  return place;
}
