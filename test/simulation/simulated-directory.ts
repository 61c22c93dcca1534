import { must } from '../../src/platform/assert.ts';
import type { FaultCounter } from './faults.ts';
import type { SimulatedFile } from './simulated-file.ts';
import type { SimulatedRandom } from './simulated-random.ts';

export type SimulatedNode = SimulatedFile | SimulatedDirectory;

/** Names as a process sees them, and as the device holds them. */
export class SimulatedDirectory {
  readonly isDirectory = true;
  readonly entries = new Map<string, SimulatedNode>();
  readonly deviceEntries = new Map<string, SimulatedNode>();
}

interface Place {
  readonly directory: SimulatedDirectory;
  readonly name: string;
}

interface EntryChange {
  readonly kind: 'add' | 'remove' | 'move';
  readonly node: SimulatedNode;
  /** Where the entry is afterwards; of a removal, where it was. */
  readonly at: Place;
  /** Of a move, where it was. */
  readonly from?: Place;
}

export function systemError(code: string, what: string, path: string): Error {
  return Object.assign(new Error(`${code}: simulated, ${what} '${path}'`), { code, path });
}

/**
 * The tree of names. A change of entries is on the device once a directory it concerns was synced; a
 * move between two directories is one change. What was not synced, a power loss keeps or not.
 */
export class SimulatedTree {
  readonly root = new SimulatedDirectory();
  #changes: EntryChange[] = [];
  #revision = 0;

  /** Changes with the names that there are. */
  get revision(): number {
    return this.#revision;
  }

  find(path: string): SimulatedNode | undefined {
    let node: SimulatedNode | undefined = this.root;
    for (const name of namesOf(path)) {
      if (node === undefined) return undefined;
      if (!node.isDirectory) return undefined;
      node = node.entries.get(name);
    }
    return node;
  }

  /** As `find`, but a file where a directory would have to be is an error. */
  lookUp(path: string, what: string): SimulatedNode | undefined {
    if (namesOf(path).length === 0) return this.root;
    const { directory, name } = this.place(path, what);
    return directory.entries.get(name);
  }

  /** The directory that `path` is or would be an entry of. */
  place(path: string, what: string): Place {
    const names = namesOf(path);
    const name = names.at(-1);
    if (name === undefined) throw systemError('EBUSY', what, path);
    const parent = this.lookUp(`/${names.slice(0, -1).join('/')}`, what);
    if (parent === undefined) throw systemError('ENOENT', what, path);
    if (!parent.isDirectory) throw systemError('ENOTDIR', what, path);
    return { directory: parent, name };
  }

  directory(path: string, what: string): SimulatedDirectory {
    const node = this.lookUp(path, what);
    if (node === undefined) throw systemError('ENOENT', what, path);
    if (!node.isDirectory) throw systemError('ENOTDIR', what, path);
    return node;
  }

  add(at: Place, node: SimulatedNode): void {
    at.directory.entries.set(at.name, node);
    this.#changed({ kind: 'add', node, at });
  }

  remove(at: Place): void {
    const node = must(at.directory.entries.get(at.name), 'what is removed is there');
    at.directory.entries.delete(at.name);
    this.#changed({ kind: 'remove', node, at });
  }

  /** Returns what the new name stood for before. */
  move(from: Place, at: Place): SimulatedNode | undefined {
    const node = must(from.directory.entries.get(from.name), 'what is moved is there');
    const replaced = at.directory.entries.get(at.name);
    from.directory.entries.delete(from.name);
    at.directory.entries.set(at.name, node);
    this.#changed({ kind: 'move', node, at, from });
    return replaced;
  }

  #changed(change: EntryChange): void {
    this.#revision += 1;
    this.#changes.push(change);
  }

  get unsyncedChanges(): number {
    return this.#changes.length;
  }

  /** The changes that concern the directory reach the device, and those that they presuppose. */
  sync(directory: SimulatedDirectory): void {
    const included = new Set<EntryChange>();
    for (let at = this.#changes.length - 1; at >= 0; at--) {
      const change = must(this.#changes[at], 'within the changes');
      const isConcerned = placesOf(change).some((place) => place.directory === directory);
      if (isConcerned || [...included].some((later) => presupposes(later, change))) {
        included.add(change);
      }
    }
    for (const change of this.#changes) if (included.has(change)) applyToDevice(change);
    this.#changes = this.#changes.filter((change) => !included.has(change));
  }

  powerLost(random: SimulatedRandom, counter: FaultCounter): void {
    this.#revision += 1;
    const keepsPrefix = random.chance(0.5);
    const probability = random.pick([0, 0.1, 0.5, 0.9, 1]);
    const prefix = random.int(this.#changes.length + 1);
    for (const [at, change] of this.#changes.entries()) {
      const isKept = keepsPrefix ? at < prefix : random.chance(probability);
      if (isKept) applyToDevice(change);
      else counter.count(lossOf[change.kind]);
    }
    this.#changes = [];
    const pending: SimulatedDirectory[] = [this.root];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      next.entries.clear();
      for (const [name, node] of next.deviceEntries) {
        next.entries.set(name, node);
        if (node.isDirectory) pending.push(node);
      }
    }
  }

  /** Every file that has a name. */
  files(): Set<SimulatedFile> {
    const found = new Set<SimulatedFile>();
    const pending: SimulatedDirectory[] = [this.root];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      for (const node of next.entries.values()) {
        if (node.isDirectory) pending.push(node);
        else found.add(node);
      }
    }
    return found;
  }
}

const lossOf = { add: 'entry_lost', remove: 'removal_undone', move: 'rename_undone' } as const;

/** The same few thousand paths are asked for all the time. */
const knownNames = new Map<string, readonly string[]>();
const knownNamesMax = 10_000;

function namesOf(path: string): readonly string[] {
  const known = knownNames.get(path);
  if (known) return known;
  const names = path.split('/').filter((name) => name !== '' && name !== '.');
  if (knownNames.size >= knownNamesMax) knownNames.clear();
  knownNames.set(path, names);
  return names;
}

function placesOf({ at, from }: EntryChange): Place[] {
  return from === undefined ? [at] : [at, from];
}

/** Whether the later change makes no sense on a device without the earlier one. */
function presupposes(later: EntryChange, earlier: EntryChange): boolean {
  if (later.node === earlier.node) return true;
  return placesOf(later).some((mine) =>
    placesOf(earlier).some((its) => its.directory === mine.directory && its.name === mine.name),
  );
}

/** Where the device has a node: it has one name at a time, whichever changes are kept. */
const devicePlaces = new WeakMap<SimulatedNode, Place>();

function applyToDevice({ kind, node, at }: EntryChange): void {
  const before = devicePlaces.get(node);
  if (kind === 'remove') {
    removeFrom(at, node);
    return;
  }
  if (before !== undefined) removeFrom(before, node);
  at.directory.deviceEntries.set(at.name, node);
  devicePlaces.set(node, at);
}

function removeFrom({ directory, name }: Place, node: SimulatedNode): void {
  if (directory.deviceEntries.get(name) === node) directory.deviceEntries.delete(name);
}
