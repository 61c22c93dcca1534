import { readSealedJson, writeSealedJson } from '../../group/catalog/sealed-json.ts';
import type { Disk } from '../../platform/disk.ts';
import { JnbdError, refusedBySystem } from '../../platform/errors.ts';
import type { CutDefinition, CutMarkerId } from '../protocol/wire-cuts.ts';

/** A marker, and its number in the journal here. */
export interface KeptMarker {
  /** Decimal digits. */
  readonly epoch: string;
  readonly sequence: string;
  readonly number: number;
}

/** What a group of this system that is in a target list has promised. */
export interface KeptHold {
  readonly list: string;
  readonly groupId: string;
  /** Applied goes up to this update and no further. */
  readonly heldAt: number;
  /** The target that it applies towards; null: none yet. */
  readonly released: KeptMarker | null;
  /** The newest target that it said it has; others may apply towards it. */
  readonly next: KeptMarker | null;
  /** It is to be promoted here; `attempt` names who says so. */
  readonly promotion: (KeptMarker & { readonly attempt: string }) | null;
}

/** All that a system knows of a cut, and has promised in it: one file, replaced whole. */
export interface CutState {
  readonly formatVersion: 1;
  readonly definition: CutDefinition;
  /** The highest epoch that was promised: markers of others are refused. Decimal digits. */
  readonly promised: string;
  readonly holds: readonly KeptHold[];
}

const extension = '.cut';

/** One cut's file. What is durable when a change returns is what may be said to others. */
export class CutFile {
  readonly #disk: Disk;
  readonly #path: string;
  #state: CutState;
  #isRemoved = false;

  constructor(disk: Disk, path: string, state: CutState) {
    this.#disk = disk;
    this.#path = path;
    this.#state = state;
  }

  get state(): CutState {
    return this.#state;
  }

  /** Throws JnbdError: cut_not_found, write_failed, disk_full; what was written before still holds. */
  change(changed: Partial<Omit<CutState, 'formatVersion' | 'definition'>>): void {
    if (this.#isRemoved) {
      throw new JnbdError('cut_not_found', `cut ${this.#state.definition.name} was deleted here`);
    }
    const state = { ...this.#state, ...changed };
    writeCut(this.#disk, this.#path, state);
    this.#state = state;
  }

  changeHold(hold: KeptHold): void {
    const isSame = (kept: KeptHold): boolean =>
      kept.list === hold.list && kept.groupId === hold.groupId;
    this.change({ holds: this.#state.holds.map((kept) => (isSame(kept) ? hold : kept)) });
  }

  remove(): void {
    this.#disk.removeFileSync(this.#path);
    this.#isRemoved = true;
  }
}

/** The cuts of a data directory. */
export class CutFiles {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #files = new Map<string, CutFile>();

  /** Throws JnbdError: catalog_damaged, format_newer. */
  constructor(disk: Disk, dataDirectory: string) {
    this.#disk = disk;
    this.#directory = `${dataDirectory}/cuts`;
    if (!disk.isDirectorySync(this.#directory)) return;
    for (const entry of disk.listSync(this.#directory)) {
      if (!entry.endsWith(extension)) continue;
      const path = `${this.#directory}/${entry}`;
      const state = readSealedJson<CutState>(disk, path);
      if (state) this.#files.set(state.definition.name, new CutFile(disk, path, state));
    }
  }

  list(): readonly CutFile[] {
    return [...this.#files.values()];
  }

  /** Throws JnbdError: write_failed, disk_full. */
  create(definition: CutDefinition, holds: readonly KeptHold[]): CutFile {
    const state: CutState = { formatVersion: 1, definition, promised: '0', holds };
    const path = `${this.#directory}/${definition.name}${extension}`;
    this.#disk.makeDirectorySync(this.#directory);
    writeCut(this.#disk, path, state);
    const file = new CutFile(this.#disk, path, state);
    this.#files.set(definition.name, file);
    return file;
  }

  remove(name: string): void {
    this.#files.get(name)?.remove();
    this.#files.delete(name);
  }
}

export function keptMarker({ epoch, sequence }: CutMarkerId, number: number): KeptMarker {
  return { epoch: epoch.toString(), sequence: sequence.toString(), number };
}

export function markerIdOf(kept: KeptMarker | null): CutMarkerId | null {
  return kept && { epoch: BigInt(kept.epoch), sequence: BigInt(kept.sequence) };
}

function writeCut(disk: Disk, path: string, state: CutState): void {
  try {
    writeSealedJson(disk, path, state);
  } catch (error) {
    throw refusedBySystem(error, 'write_failed', `cannot write ${path}`) ?? error;
  }
}
