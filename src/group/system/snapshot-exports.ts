import { JnbdError } from '../../platform/errors.ts';
import type { Export, ExportClient, ExportSession } from '../apply/export.ts';
import { areaName, isHidden } from '../catalog/snapshots.ts';
import type { Group } from '../order/group.ts';
import type { OverlayVolume } from '../overlays/overlay.ts';
import type { Clone } from '../snapshots/clones.ts';
import { type SnapshotOfVolume, SnapshotSession } from '../snapshots/snapshot-session.ts';
import { isIncomplete } from '../volumes/missing-contents.ts';
import { refusalOf } from './export-refusal.ts';

/** A volume as a snapshot has it. */
export class SnapshotExport implements Export {
  readonly name: string;
  readonly description: string;
  readonly sizeBytes: number;
  readonly readOnly = true;
  readonly rotational: boolean;
  readonly #group: Group;
  readonly #of: SnapshotOfVolume;

  constructor(group: Group, of: SnapshotOfVolume, rotational: boolean) {
    const volume = of.volume.catalog.name;
    this.name = `${group.name}/${volume}@${of.name}`;
    this.description = `volume ${volume} of group ${group.name} as of snapshot ${of.name}`;
    this.sizeBytes = of.area.catalog.preserves?.dataBytes ?? 0;
    this.rotational = rotational;
    this.#group = group;
    this.#of = of;
  }

  refusal(): JnbdError | undefined {
    return snapshotRefusal(this.#group, this.#of);
  }

  open(client: ExportClient): ExportSession {
    const refusal = this.refusal();
    if (refusal) throw refusal;
    const session = new SnapshotSession(this.#group, this.#of, client);
    this.#of.area.sessions.add(session);
    return session;
  }
}

/** Why no host may open that snapshot of the volume now. */
function snapshotRefusal(group: Group, { volume, area }: SnapshotOfVolume): JnbdError | undefined {
  const refusal = refusalOf(group, volume) ?? refusalOf(group, area);
  if (refusal || !isIncomplete(group)) return refusal;
  const shows = group.follow.state?.shows ?? 0;
  const text = `what group ${group.name} holds is of no one instant before all of it has come and is applied up to update ${shows}; try again`;
  return new JnbdError('state_refuses', text);
}

/** A volume as a clone has it. */
export class CloneExport implements Export {
  readonly name: string;
  readonly description: string;
  readonly sizeBytes: number;
  readonly readOnly = false;
  readonly rotational: boolean;
  readonly #group: Group;
  readonly #clone: Clone;
  readonly #volume: OverlayVolume;

  constructor(group: Group, clone: Clone, volume: OverlayVolume, rotational: boolean) {
    const { name, dataBytes } = volume.entry;
    this.name = `${group.name}/${name}@${clone.name}`;
    this.description = `volume ${name} of group ${group.name}, writable clone ${clone.name} of snapshot ${clone.entry.snapshot.name}`;
    this.sizeBytes = dataBytes;
    this.rotational = rotational;
    this.#group = group;
    this.#clone = clone;
    this.#volume = volume;
  }

  refusal(): JnbdError | undefined {
    return cloneRefusal(this.#group, this.#clone, this.#volume);
  }

  open(client: ExportClient): ExportSession {
    const refusal = this.refusal();
    if (refusal) throw refusal;
    return this.#group.snapshots.clones.openSession(this.#clone, this.#volume, client);
  }
}

/** Why no host may open that volume of the clone now. */
function cloneRefusal(group: Group, clone: Clone, volume: OverlayVolume): JnbdError | undefined {
  const name = `${group.name}/${volume.entry.name}@${clone.name}`;
  if (clone.failure !== '') return new JnbdError('volume_abnormal', `${name}: ${clone.failure}`);
  if (group.state !== 'normal') {
    const text = `group ${group.name} is ${group.state}: ${group.failureText}`;
    return new JnbdError(group.state === 'closing' ? 'shutting_down' : 'volume_abnormal', text);
  }
  if (!clone.isDependent) return undefined;
  const { number } = clone.entry.snapshot;
  const of = [...snapshotsOfVolumes(group)].find(
    (each) => each.number === number && each.volume.catalog.id === volume.entry.id,
  );
  if (of) return snapshotRefusal(group, of);
  return new JnbdError('state_refuses', `${name}: what it stands over is not there now`);
}

/** Once the catalog has it, and its files are there. */
export function* snapshotsOfVolumes(group: Group): Generator<SnapshotOfVolume> {
  const { snapshots, catalog } = group;
  if (snapshots.list.length === 0) return;
  const volumes = new Map([...group.volumes.values()].map((volume) => [volume.catalog.id, volume]));
  for (const { number, name, areas } of snapshots.living) {
    if (number > catalog.number || isHidden({ name })) continue;
    for (const { volume: id, area: areaId } of areas) {
      const volume = volumes.get(id);
      const area = group.volumes.get(areaName(areaId));
      if (!volume || !area || volume.state === 'unused' || area.state === 'unused') continue;
      if (!area.catalog.journalOnly) yield { number, name, volume, area };
    }
  }
}
