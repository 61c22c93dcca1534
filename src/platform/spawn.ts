/**
 * Starting processes without copying ours. `fork`, which Node.js uses, copies the page tables while
 * everything stands still: 65 ms for half a gigabyte. `posix_spawn` takes 0.3 ms, in the thread pool.
 */
import { closeSync, constants } from 'node:fs';
import { assert } from './assert.ts';
import { addressOf, bind, bindAsync, errno, libc, missing, systemError } from './native.ts';

export interface SpawnOrder {
  readonly path: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly directory: string;
}

export interface SpawnedProcess {
  /** Of a process that leads a session and a group of its own. */
  readonly pid: number;
  /** Reads what it writes to standard output and standard error; never waits (EAGAIN). */
  readonly output: number;
}

const pipe2 = bind('int pipe2(uint64_t descriptors, int flags)');
const fcntl = libc?.func('fcntl', 'int', ['int', 'int', '...']);
const waitpid = bind('int waitpid(int pid, uint64_t status, int options)');
const sigfillset = bind('int sigfillset(uint64_t signals)');
const sigemptyset = bind('int sigemptyset(uint64_t signals)');
const attributesInit = bind('int posix_spawnattr_init(uint64_t attributes)');
const attributesDestroy = bind('int posix_spawnattr_destroy(uint64_t attributes)');
const setFlags = bind('int posix_spawnattr_setflags(uint64_t attributes, short flags)');
const setDefault = bind('int posix_spawnattr_setsigdefault(uint64_t attributes, uint64_t signals)');
const setMask = bind('int posix_spawnattr_setsigmask(uint64_t attributes, uint64_t signals)');
const actionsInit = bind('int posix_spawn_file_actions_init(uint64_t actions)');
const actionsDestroy = bind('int posix_spawn_file_actions_destroy(uint64_t actions)');
const addDuplicate = bind(
  'int posix_spawn_file_actions_adddup2(uint64_t actions, int from, int to)',
);
const addOpen = bind(
  'int posix_spawn_file_actions_addopen(uint64_t actions, int to, uint64_t path, int flags, unsigned int mode)',
);
const addDirectory = bind(
  'int posix_spawn_file_actions_addchdir_np(uint64_t actions, uint64_t path)',
);
const posixSpawn = bindAsync(
  'int posix_spawn(uint64_t pid, uint64_t path, uint64_t actions, uint64_t attributes, uint64_t words, uint64_t environment)',
);

const O_CLOEXEC = 0o2000000;
const F_SETFL = 4;
const POSIX_SPAWN_SETSIGDEF = 0x04;
const POSIX_SPAWN_SETSIGMASK = 0x08;
const POSIX_SPAWN_SETSID = 0x80;
const WNOHANG = 1;
/** More than `posix_spawnattr_t`, `posix_spawn_file_actions_t` and `sigset_t` have in any C library. */
const structureBytes = 1024;

/** Memory that C code reads or writes: it stays there until it is let go. */
class Pinned {
  #kept: Uint8Array[] = [];

  bytes(bytes: Uint8Array): number {
    this.#kept.push(bytes);
    const address = addressOf(bytes);
    assert(address !== undefined, 'memory has an address where there is a C library');
    return address;
  }

  structure(): number {
    return this.bytes(new Uint8Array(structureBytes));
  }

  text(text: string): number {
    assert(!text.includes('\0'), 'a text for C code has no zero in it');
    return this.bytes(new Uint8Array(Buffer.from(`${text}\0`, 'utf8')));
  }

  /** To be called when C code has done with it: what nothing refers to any more is collected. */
  letGo(): void {
    this.#kept = [];
  }

  texts(texts: readonly string[]): number {
    const addresses = texts.map((text) => BigInt(this.text(text)));
    return this.bytes(new Uint8Array(new BigUint64Array([...addresses, 0n]).buffer));
  }
}

/**
 * Starts a program with no input, signals as usual, and `directory` as its own. `done` is called once,
 * later: with the system's error when it cannot be started.
 */
export function spawn(
  order: SpawnOrder,
  done: (error: Error | null, process?: SpawnedProcess) => void,
): void {
  const pinned = new Pinned();
  const ends = new Int32Array(2);
  if (pipe2 === undefined || fcntl === undefined || posixSpawn === undefined) {
    setImmediate(done, systemError(missing, 'posix_spawn'));
    return;
  }
  if (pipe2(pinned.bytes(new Uint8Array(ends.buffer)), O_CLOEXEC) !== 0) {
    setImmediate(done, systemError(errno(), 'pipe2'));
    return;
  }
  const [output = -1, input = -1] = ends;
  fcntl(output, F_SETFL, 'int', constants.O_NONBLOCK);
  const attributes = pinned.structure();
  const actions = pinned.structure();
  prepare(pinned, attributes, actions, order, input);
  const pid = new Int32Array(1);
  posixSpawn(
    pinned.bytes(new Uint8Array(pid.buffer)),
    pinned.text(order.path),
    actions,
    attributes,
    pinned.texts([order.path]),
    pinned.texts(Object.entries(order.environment).map(([name, value]) => `${name}=${value}`)),
    (error, number) => {
      attributesDestroy?.(attributes);
      actionsDestroy?.(actions);
      pinned.letGo();
      closeSync(input);
      const failure = error ?? (number === 0 ? null : systemError(number, 'posix_spawn'));
      if (failure === null) {
        done(null, { pid: pid[0] ?? 0, output });
        return;
      }
      closeSync(output);
      done(failure);
    },
  );
}

function prepare(
  pinned: Pinned,
  attributes: number,
  actions: number,
  { directory }: SpawnOrder,
  input: number,
): void {
  const signals = pinned.structure();
  attributesInit?.(attributes);
  setFlags?.(attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  sigfillset?.(signals);
  setDefault?.(attributes, signals);
  sigemptyset?.(signals);
  setMask?.(attributes, signals);
  actionsInit?.(actions);
  addOpen?.(actions, 0, pinned.text('/dev/null'), constants.O_RDONLY, 0);
  addDuplicate?.(actions, input, 1);
  addDuplicate?.(actions, input, 2);
  addDirectory?.(actions, pinned.text(directory));
}

export type WaitStatus = 'running' | { readonly code: number } | { readonly signal: number };

const status = new Int32Array(1);
const statusAddress = addressOf(new Uint8Array(status.buffer)) ?? 0;

/** How a process of `spawn` ended; at the end it is forgotten. `undefined`: somebody else was told. */
export function waitFor(pid: number): WaitStatus | undefined {
  const found = waitpid?.(pid, statusAddress, WNOHANG);
  if (found === 0) return 'running';
  if (found !== pid) return undefined;
  const value = status[0] ?? 0;
  const signal = value & 0x7f;
  return signal === 0 ? { code: (value >> 8) & 0xff } : { signal };
}
