import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { JnbdError } from '../platform/errors.ts';

export interface CheckEnd {
  /** `unchecked`: there was nothing that could be checked. */
  readonly kind: 'passed' | 'failed' | 'timed_out' | 'unchecked';
  readonly text: string;
}

const graceMilliseconds = 5000;
/** How a check says that it does not know how: `EX_TEMPFAIL` of sysexits.h. */
const uncheckedCode = 75;

/** Runs a shell command; what it says goes to standard error, so that standard output is the result alone. */
export function runCheck(
  shell: string,
  environment: Readonly<Record<string, string>>,
  timeoutMilliseconds: number,
): Promise<CheckEnd> {
  return new Promise((resolve) => {
    const child = spawn('/bin/sh', ['-c', shell], {
      env: { ...process.env, ...environment },
      stdio: ['ignore', process.stderr, process.stderr],
      detached: true,
    });
    let isOver = false;
    const signal = (name: NodeJS.Signals): void => {
      try {
        // With all that it started.
        if (child.pid !== undefined) process.kill(-child.pid, name);
      } catch {
        // Nothing of it is left.
      }
    };
    let killing: NodeJS.Timeout | undefined;
    const timer = setTimeout(() => {
      isOver = true;
      signal('SIGTERM');
      killing = setTimeout(() => signal('SIGKILL'), graceMilliseconds);
    }, timeoutMilliseconds);
    const ended = (end: CheckEnd): void => {
      clearTimeout(timer);
      clearTimeout(killing);
      resolve(isOver ? { kind: 'timed_out', text: end.text } : end);
    };
    child.once('error', (error) => ended({ kind: 'failed', text: error.message }));
    child.once('exit', (code, name) => {
      if (code === 0) ended({ kind: 'passed', text: '' });
      else if (code === uncheckedCode) ended({ kind: 'unchecked', text: '' });
      else ended({ kind: 'failed', text: name ? `ended by ${name}` : `it exited with ${code}` });
    });
  });
}

/**
 * Looks for a file system on each volume and has it checked by its own program, none of which changes anything.
 * Throws argument_invalid where that cannot be done here.
 */
export function fileSystemCheck(): string {
  const missing = ['nbdfuse', 'blkid'].filter((name) => !isThere(name));
  if (missing.length > 0) {
    throw new JnbdError(
      'argument_invalid',
      `drill: say how to check: --check COMMAND; file systems can be found without it where ${missing.join(' and ')} is installed`,
    );
  }
  return checkScript;
}

function isThere(name: string): boolean {
  const directories = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return directories.some((directory) => {
    try {
      accessSync(join(directory, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

const checkScript = `
PATH="$PATH:/usr/sbin:/sbin"
directory=$(mktemp -d) || exit 1
mounted=
leave() {
  for each in $mounted; do umount "$each" 2>/dev/null || fusermount3 -u "$each" || fusermount -u "$each"; done
  rm -rf "$directory"
}
trap leave EXIT
trap 'exit 143' TERM INT
found=0
for volume in $JNBD_VOLUMES; do
  variable=JNBD_URI_$(printf %s "$volume" | tr -c 'A-Za-z0-9' _)
  eval "uri=\\$$variable"
  mkdir "$directory/$volume" || exit 1
  nbdfuse -r -P "$directory/$volume.pid" "$directory/$volume/image" "$uri" &
  tries=0
  while [ ! -s "$directory/$volume.pid" ]; do
    tries=$((tries + 1))
    if [ $tries -gt 100 ] || ! kill -0 $! 2>/dev/null; then
      echo "nbdfuse cannot show $volume as a file; give a check of your own with --check" >&2
      exit 75
    fi
    sleep 0.1
  done
  mounted="$mounted $directory/$volume"
  image=$directory/$volume/image
  type=$(blkid -p -o value -s TYPE "$image")
  echo "volume $volume: \${type:-no file system}" >&2
  case "$type" in
    ext2|ext3|ext4) e2fsck -f -n "$image" || exit 1 ;;
    xfs) xfs_repair -n -f "$image" || exit 1 ;;
    btrfs) btrfs check --readonly "$image" || exit 1 ;;
    vfat) fsck.vfat -n "$image" || exit 1 ;;
    '') continue ;;
    *) echo "no check for $type; give one with --check" >&2; exit 75 ;;
  esac
  found=$((found + 1))
done
if [ $found -eq 0 ]; then
  echo 'no volume has a file system that is known here; give a check with --check' >&2
  exit 75
fi
`;
