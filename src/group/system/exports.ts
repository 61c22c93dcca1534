import type { Disk } from '../../platform/disk.ts';
import { JnbdError } from '../../platform/errors.ts';
import type { Export, ExportClient, ExportDirectory, ExportSession } from '../apply/export.ts';
import type { Group } from '../order/group.ts';
import { HostSession } from '../order/host-session.ts';
import { isHidden } from './secondary-exports.ts';
import { acceptsHostWrites } from '../catalog/states.ts';
import type { System } from './system.ts';
import type { Volume } from '../apply/volume.ts';

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

/** Volumes under the names DESIGN gives them: `G/V`, `V` where unique, '' where there is one volume. */
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
    if (name === '') return all.length === 1 ? all[0] : undefined;
    const named = all.filter((candidate) => candidate.name.endsWith(`/${name}`));
    return named.length === 1 ? named[0] : undefined;
  }

  list(): Export[] {
    const exports: Export[] = [];
    for (const group of this.#system.groups.values()) {
      if (isHidden(group)) continue;
      for (const volume of group.volumes.values()) {
        if (volume.state === 'unused') continue;
        exports.push(new VolumeExport(group, volume, this.#isRotational(group)));
      }
    }
    return exports;
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
