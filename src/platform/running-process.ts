import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** A process of this machine, as far as this user may see (Linux). */
export interface RunningProcess {
  readonly pid: number;
  readonly command: string;
}

/** One that has a file open which `/proc/PID/fd` shows as one of `links` (proc(5)). */
export function processWithOpen(links: ReadonlySet<string>): RunningProcess | undefined {
  for (const name of listIfThere('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    for (const descriptor of listIfThere(`/proc/${name}/fd`)) {
      if (!links.has(linkIfThere(`/proc/${name}/fd/${descriptor}`))) continue;
      const command = readIfThere(`/proc/${name}/cmdline`).split('\0').join(' ').trim();
      return { pid: Number(name), command: command || readIfThere(`/proc/${name}/comm`).trim() };
    }
  }
  return undefined;
}

export function formatProcess({ pid, command }: RunningProcess): string {
  return `process ${pid} (${command})`;
}

/** '' where it cannot be read: a process may have ended, or belong to somebody else. */
export function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function listIfThere(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function linkIfThere(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
