import type { Disk } from '../../platform/disk.ts';
import { JnbdError } from '../../platform/errors.ts';
import type { Export, ExportClient, ExportDirectory, ExportSession } from '../apply/export.ts';
import type { Group } from '../order/group.ts';
import { HostSession } from '../order/host-session.ts';
import { isHidden } from './secondary-exports.ts';
import { acceptsHostWrites } from '../catalog/states.ts';
import type { System } from './system.ts';
import { type SnapshotOfVolume, SnapshotSession } from '../snapshots/snapshot-session.ts';
import { shownVolumes, type Volume } from '../apply/volume.ts';
import { areaName } from '../catalog/snapshots.ts';
import { isIncomplete } from '../volumes/missing-contents.ts';

/** A volume at the door. */
class VolumeExport implements Export {
  readonly name: string;
  readonly description: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly rotational: boolean;
  readonly #group: Group;
  readonly #volume: Volume;

  constructor(group: Group, volume: Volume, rotational: boolean) {
    this.name = `${group.name}/${volume.catalog.name}`;
    this.description = `volume ${volume.catalog.name} of group ${group.name}${volume.catalog.journalOnly ? ', journal-only' : ''}`;
    this.sizeBytes = volume.catalog.sizeBytes;
    this.readOnly = group.role !== 'primary';
    this.rotational = rotational;
    this.#group = group;
    this.#volume = volume;
  }

  open(client: ExportClient): ExportSession {
    const group = this.#group;
    const volume = this.#volume;
    const refusal = refusalOf(group, volume);
    if (refusal) throw refusal;
    const { maxHosts } = volume.catalog;
    if (maxHosts > 0) {
      const hosts = new Set([...volume.sessions].map((session) => hostOf(session.client.peer)));
      if (!hosts.has(hostOf(client.peer)) && hosts.size >= maxHosts) {
        throw new JnbdError(
          'volume_in_use',
          `volume ${this.name} is in use by ${[...hosts].join(', ')}, and --max-hosts is ${maxHosts}`,
        );
      }
    }
    const session = new HostSession(group, volume, client);
    volume.sessions.add(session);
    return session;
  }
}

/** A volume as a snapshot has it. */
class SnapshotExport implements Export {
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

  open(client: ExportClient): ExportSession {
    const refusal = snapshotRefusal(this.#group, this.#of);
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
  const text = `what group ${group.name} holds is of no one instant before more is applied`;
  return new JnbdError('state_refuses', text);
}

/** Why no host may open the volume now; undefined: hosts may. */
export function refusalOf(group: Group, volume: Volume): JnbdError | undefined {
  if (group.state !== 'normal') {
    return new JnbdError(
      group.state === 'closing' ? 'shutting_down' : 'volume_abnormal',
      `group ${group.name} is ${group.state}: ${group.failureText}`,
    );
  }
  if (group.role === 'diverged' || group.hosts.closedText !== '') {
    return new JnbdError('state_refuses', `group ${group.name}: ${group.failureText}`);
  }
  if (acceptsHostWrites(volume.state)) return undefined;
  return new JnbdError(
    'volume_abnormal',
    `volume ${group.name}/${volume.catalog.name} is ${volume.state}: ${volume.failure}`,
  );
}

/** `127.0.0.1:4711` and `127.0.0.1:4712` are one host; so are all clients of a Unix socket. */
function hostOf(peer: string): string {
  return peer.replace(/:\d+$/, '');
}

/** Once the catalog has it, and its files are there. */
function* snapshotsOfVolumes(group: Group): Generator<SnapshotOfVolume> {
  const { snapshots, catalog } = group;
  if (snapshots.list.length === 0) return;
  const volumes = new Map([...group.volumes.values()].map((volume) => [volume.catalog.id, volume]));
  for (const { number, name, areas } of snapshots.living) {
    if (number > catalog.number) continue;
    for (const { volume: id, area: areaId } of areas) {
      const volume = volumes.get(id);
      const area = group.volumes.get(areaName(areaId));
      if (!volume || !area || volume.state === 'unused' || area.state === 'unused') continue;
      if (!area.catalog.journalOnly) yield { number, name, volume, area };
    }
  }
}

/**
 * `G/V`, `V` where unique, '' where there is one volume; `G/V@SNAPSHOT`, `V@SNAPSHOT` where unique. Snapshots stand
 * behind the volumes.
 */
export class SystemExports implements ExportDirectory {
  readonly #system: System;
  readonly #disk: Disk;
  readonly #rotational = new Map<string, boolean>();

  constructor(system: System, disk: Disk) {
    this.#system = system;
    this.#disk = disk;
  }

  find(name: string): Export | undefined {
    const all = this.list();
    const exact = all.find((candidate) => candidate.name === name);
    if (exact) return exact;
    const volumes = all.filter((candidate) => !(candidate instanceof SnapshotExport));
    if (name === '') return volumes.length === 1 ? volumes[0] : undefined;
    const named = all.filter((candidate) => candidate.name.endsWith(`/${name}`));
    return named.length === 1 ? named[0] : undefined;
  }

  list(): Export[] {
    const volumes: Export[] = [];
    const snapshots: Export[] = [];
    for (const group of this.#system.groups.values()) {
      if (!isHidden(group)) {
        for (const volume of shownVolumes(group.volumes)) {
          if (volume.state === 'unused') continue;
          volumes.push(new VolumeExport(group, volume, this.#isRotational(group)));
        }
      }
      for (const of of snapshotsOfVolumes(group))
        snapshots.push(new SnapshotExport(group, of, this.#isRotational(group)));
    }
    return [...volumes, ...snapshots];
  }

  #isRotational(group: Group): boolean {
    const path = this.#system.filesOf(group).volumes;
    let rotational = this.#rotational.get(path);
    if (rotational === undefined) {
      rotational = this.#disk.isRotationalSync(path);
      this.#rotational.set(path, rotational);
    }
    return rotational;
  }
}
