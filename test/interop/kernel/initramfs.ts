import { lstatSync, readFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { runChecked } from '../../support/children.ts';

/** A file of the guest: its path there, without a leading slash, and its contents. */
export interface GuestFile {
  readonly path: string;
  readonly contents: Uint8Array;
  readonly executable: boolean;
}

const typeDirectory = 0o040000;
const typeFile = 0o100000;
const typeDevice = 0o020000;

/**
 * One entry in the "newc" form that Linux unpacks (kernel documentation,
 * driver-api/early-userspace/buffer-format): a header of hexadecimal text, the name, the contents, the
 * last two padded to four bytes.
 */
function entry(
  inode: number,
  path: string,
  mode: number,
  contents: Uint8Array,
  device = [0, 0],
): Buffer {
  const name = Buffer.from(`${path}\0`);
  const fields = [
    inode,
    mode,
    0,
    0,
    1,
    0,
    contents.length,
    0,
    0,
    device[0] ?? 0,
    device[1] ?? 0,
    name.length,
    0,
  ];
  const header = Buffer.from(
    `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`,
  );
  const headLength = header.length + name.length;
  return Buffer.concat([
    header,
    name,
    Buffer.alloc(-headLength & 3),
    contents,
    Buffer.alloc(-contents.length & 3),
  ]);
}

/** An archive for `-initrd`, with the directories that the files need and a console. */
export function initramfs(files: readonly GuestFile[]): Buffer {
  const directories = new Set(['dev', 'proc', 'sys', 'tmp']);
  for (const file of files) {
    for (let path = dirname(file.path); path !== '.'; path = dirname(path)) directories.add(path);
  }
  const nothing = new Uint8Array();
  let inode = 1;
  const entries = [...directories]
    .sort()
    .map((path) => entry(inode++, path, typeDirectory | 0o755, nothing));
  entries.push(entry(inode++, 'dev/console', typeDevice | 0o600, nothing, [5, 1]));
  for (const file of files) {
    const mode = typeFile | (file.executable ? 0o755 : 0o644);
    entries.push(entry(inode++, file.path, mode, file.contents));
  }
  entries.push(entry(0, 'TRAILER!!!', 0, nothing));
  return Buffer.concat(entries);
}

/** The program and the libraries that it loads, at the paths where it looks for them. */
export async function programWithLibraries(
  path: string,
  libraryPath: string,
): Promise<GuestFile[]> {
  const { stdout } = await runChecked('ldd', [path], {
    environment: { LD_LIBRARY_PATH: libraryPath },
  });
  const files = [{ path: `bin/${basename(path)}`, contents: readFileSync(path), executable: true }];
  for (const line of stdout.split('\n')) {
    // "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)", or the loader alone with its path.
    const match = /^\s*(?:(\S+) => )?(\/\S+) \(0x/.exec(line);
    if (!match?.[2]) continue;
    const target = match[1] === undefined ? match[2].slice(1) : `lib/${match[1]}`;
    files.push({ path: target, contents: readFileSync(match[2]), executable: true });
  }
  return files;
}

/**
 * The kernel modules by name with all that they need, in an order in which they can be loaded.
 * `directory` is `lib/modules/VERSION` with its `modules.dep`. What is built in is left out.
 */
export function modulesInOrder(directory: string, names: readonly string[]): string[] {
  const needs = new Map<string, string[]>();
  for (const line of readFileSync(`${directory}/modules.dep`, 'utf8').split('\n')) {
    const [path, rest] = line.split(':');
    if (path) needs.set(path, rest?.trim().split(/\s+/).filter(Boolean) ?? []);
  }
  const builtin = readFileSync(`${directory}/modules.builtin`, 'utf8');
  const order: string[] = [];
  const add = (path: string) => {
    if (order.includes(path)) return;
    for (const needed of needs.get(path) ?? []) add(needed);
    order.push(path);
  };
  for (const name of names) {
    const path = [...needs.keys()].find((key) => basename(key) === `${name}.ko`);
    if (path !== undefined) add(path);
    else if (!builtin.includes(`/${name}.ko`)) {
      throw new Error(`the kernel in ${directory} has no module ${name}`);
    }
  }
  return order.map((path) => `${directory}/${path}`);
}

/** Drops the second of two files with one path: programs share libraries. */
export function unique(files: readonly GuestFile[]): GuestFile[] {
  return [...new Map(files.map((file) => [file.path, file])).values()];
}

/** Bytes of storage that the file takes, holes not counted. */
export function allocatedBytes(path: string): number {
  return lstatSync(path).blocks * 512;
}
