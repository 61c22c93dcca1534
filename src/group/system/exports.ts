import type { Disk } from '../../platform/disk.ts';
import { JnbdError } from '../../platform/errors.ts';
import type { Export, ExportClient, ExportDirectory, ExportSession } from '../apply/export.ts';
import type { Group } from '../order/group.ts';
import { HostSession } from '../order/host-session.ts';
import { isHidden } from './secondary-exports.ts';
import { hostRefusalOf } from './export-refusal.ts';
import type { System } from './system.ts';
import { CloneExport, SnapshotExport, snapshotsOfVolumes } from './snapshot-exports.ts';
import { shownVolumes, type Volume } from '../apply/volume.ts';
import { ViewExport } from './view-export.ts';

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

  refusal(): JnbdError | undefined {
    return hostRefusalOf(this.#group, this.#volume);
  }

  open(client: ExportClient): ExportSession {
    const group = this.#group;
    const volume = this.#volume;
    const refusal = this.refusal();
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

/** `127.0.0.1:4711` and `127.0.0.1:4712` are one host; so are all clients of a Unix socket. */
function hostOf(peer: string): string {
  return peer.replace(/:\d+$/, '');
}

/**
 * `G/V`, `V` where unique, '' where there is one volume; `G/V@SNAPSHOT`, `V@SNAPSHOT` where unique, and the same of
 * clones and views. All of them stand behind the volumes.
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
    const volumes = all.filter((candidate) => candidate instanceof VolumeExport);
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
      const { clones } = group.snapshots;
      for (const of of snapshotsOfVolumes(group)) {
        // One that came later, from elsewhere, does not take the place of what somebody writes to.
        if (clones.find(of.name)) continue;
        snapshots.push(new SnapshotExport(group, of, this.#isRotational(group)));
      }
      for (const clone of clones.list)
        for (const volume of clone.failure === '' ? clone.volumes : [])
          snapshots.push(new CloneExport(group, clone, volume, this.#isRotational(group)));
      for (const view of group.views.list)
        for (const volume of view.volumes)
          snapshots.push(new ViewExport(group, view, volume, this.#isRotational(group)));
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
