import { JnbdError } from '../../platform/errors.ts';
import type { Export, ExportClient, ExportSession } from '../apply/export.ts';
import type { Group } from '../order/group.ts';
import type { View, ViewVolume } from '../views/view.ts';
import { ViewSession } from '../views/view-session.ts';

/** A volume as a view has it. */
export class ViewExport implements Export {
  readonly name: string;
  readonly description: string;
  readonly sizeBytes: number;
  readonly readOnly = true;
  readonly rotational: boolean;
  readonly #group: Group;
  readonly #view: View;
  readonly #volume: ViewVolume;

  constructor(group: Group, view: View, volume: ViewVolume, rotational: boolean) {
    const { name, number } = view.entry;
    this.name = `${group.name}/${volume.entry.name}@${name}`;
    this.description = `volume ${volume.entry.name} of group ${group.name} as of update ${number}`;
    this.sizeBytes = volume.entry.sizeBytes;
    this.rotational = rotational;
    this.#group = group;
    this.#view = view;
    this.#volume = volume;
  }

  open(client: ExportClient): ExportSession {
    if (this.#view.state !== 'open') throw new JnbdError('state_refuses', this.#view.reason);
    const session = new ViewSession(this.#group, this.#view, this.#volume, client);
    this.#volume.sessions.add(session);
    return session;
  }
}
