import type { Disk, DiskFile } from '../../platform/disk.ts';
import { JnbdError } from '../../platform/errors.ts';
import type { ApplyVolume } from '../../volume/apply-messages.ts';
import type { CatalogVolume } from '../catalog/catalog.ts';
import type { ExportClient } from './export.ts';
import type { VolumeState } from '../catalog/states.ts';
import { changeVolumeState } from '../catalog/states.ts';
import { CountedVolumeMetrics } from './volume-metrics.ts';

/** A host's connection to a volume, as its group sees it. */
export interface OpenSession {
  readonly client: ExportClient;
  /** The highest number somebody there waits for; 0: nobody does. */
  waitsFor: number;
  /** More updates may be answered. */
  answerableAdvanced(answerable: number): void;
}

/** A volume while its group is open. */
export class Volume {
  catalog: CatalogVolume;
  /** Undefined for volumes that store nothing, and where the file is missing. */
  readonly file: DiskFile | undefined;
  readonly backingFile: string;
  readonly metrics = new CountedVolumeMetrics();
  readonly sessions = new Set<OpenSession>();
  #state: VolumeState;
  #failure = '';
  #revision = 0;
  #rollsBackTo: number | undefined;
  /** A sync of its file failed: it stays abnormal until a restart applies the journal again. */
  syncFailed = false;

  constructor(catalog: CatalogVolume, file: DiskFile | undefined, backingFile: string) {
    this.catalog = catalog;
    this.file = file;
    this.backingFile = backingFile;
    this.#state = catalog.state;
    this.#rollsBackTo = catalog.rollback?.to;
  }

  get state(): VolumeState {
    return this.#state;
  }

  /** Why it is abnormal. */
  get failure(): string {
    return this.#failure;
  }

  /** How often its state or its entry in the catalog changed. */
  get revision(): number {
    return this.#revision;
  }

  /** The catalog has another entry of it: another size, or another setting. */
  describe(entry: CatalogVolume): void {
    this.catalog = entry;
    this.#rollsBackTo = entry.rollback?.to;
    this.#revision += 1;
  }

  /** The update that its contents go back to, or are about to: no host sees or writes them. */
  get rollsBackTo(): number | undefined {
    return this.#rollsBackTo;
  }

  /** Before the catalog says so; undefined: hosts are let in again, unless it does. */
  rollBackTo(number: number | undefined): void {
    this.#rollsBackTo = number ?? this.catalog.rollback?.to;
    this.#revision += 1;
  }

  become(state: VolumeState, failure = ''): void {
    this.#state = changeVolumeState(this.#state, state);
    this.#revision += 1;
    this.#failure = failure;
  }
}

/** A file that is missing stops apply: what its volume was sent is not given back (SAFETY 6). */
export function volumesToApply(volumes: Iterable<Volume>): ApplyVolume[] {
  return [...volumes]
    .filter((volume) => !volume.catalog.journalOnly)
    .map(({ catalog, backingFile }) => ({
      id: catalog.id,
      path: backingFile,
      areaDataBytes: catalog.preserves?.dataBytes,
    }));
}

/** Those that users made: areas of snapshots are volumes, too. */
export function shownVolumes(volumes: ReadonlyMap<string, Volume>): Volume[] {
  return [...volumes.values()].filter(({ catalog }) => catalog.preserves === undefined);
}

/** For hosts, and whoever wants what cannot be while volumes go back. Undefined: this one does not. */
export function rollbackText(group: string, { catalog, rollsBackTo }: Volume): string | undefined {
  if (rollsBackTo === undefined) return undefined;
  return `volume ${group}/${catalog.name} is being rolled back to update ${rollsBackTo}`;
}

/** Throws JnbdError state_refuses. */
export function refuseRollingBack(group: string, volumes: Iterable<Volume>): void {
  for (const volume of volumes) {
    const text = rollbackText(group, volume);
    if (text !== undefined)
      throw new JnbdError('state_refuses', `${text}; wait until that is done`);
  }
}

/** Of a volume that is gone. `isKept`: somebody else removes the file. */
export function dropFile(disk: Disk, { file, backingFile }: Volume, isKept: boolean): void {
  file?.closeSync();
  if (backingFile === '' || isKept) return;
  if (disk.existsSync(backingFile)) disk.removeFileSync(backingFile);
}

/** Tells volumes what the catalog says by now of their way back to an earlier update. */
export function describeRollbacks({
  catalog,
  volumes,
}: {
  readonly catalog: { readonly volumes: readonly CatalogVolume[] };
  readonly volumes: ReadonlyMap<string, Volume>;
}): void {
  const entries = new Map(catalog.volumes.map((entry) => [entry.id, entry]));
  for (const volume of volumes.values()) {
    const entry = entries.get(volume.catalog.id);
    if (entry && entry.rollback !== volume.catalog.rollback) volume.describe(entry);
  }
}
