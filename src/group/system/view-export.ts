import { must } from '../../platform/assert.ts';
import { JnbdError } from '../../platform/errors.ts';
import type { Export, ExportClient, ExportSession } from '../apply/export.ts';
import type { Group } from '../order/group.ts';
import { OverlaySession } from '../overlays/overlay-session.ts';
import type { View, ViewVolume } from '../views/view.ts';
import { ViewSession } from '../views/view-session.ts';

/** A volume as a view has it. */
export class ViewExport implements Export {
  readonly name: string;
  readonly description: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly rotational: boolean;
  readonly #group: Group;
  readonly #view: View;
  readonly #volume: ViewVolume;

  constructor(group: Group, view: View, volume: ViewVolume, rotational: boolean) {
    const { name, number } = view.entry;
    const what = view.isWritable ? `, writable view ${name}` : '';
    this.name = `${group.name}/${volume.entry.name}@${name}`;
    this.description = `volume ${volume.entry.name} of group ${group.name} as of update ${number}${what}`;
    this.sizeBytes = volume.entry.sizeBytes;
    this.readOnly = !view.isWritable;
    this.rotational = rotational;
    this.#group = group;
    this.#view = view;
    this.#volume = volume;
  }

  refusal(): JnbdError | undefined {
    const { state, reason, isWritable, overlay } = this.#view;
    const isOpening = state === 'opening' || (isWritable && !overlay);
    if (isOpening) return new JnbdError('state_refuses', `${this.name} is being opened; try again`);
    if (state === 'ended') return new JnbdError('state_refuses', reason);
    if (!overlay || overlay.failure === '') return undefined;
    return new JnbdError('volume_abnormal', `${this.name}: ${overlay.failure}`);
  }

  open(client: ExportClient): ExportSession {
    const refusal = this.refusal();
    if (refusal) throw refusal;
    const { overlay } = this.#view;
    if (!overlay) return this.#openPast(client);
    const { id } = this.#volume;
    const written = overlay.volumes.find(({ entry }) => entry.id === id);
    return new OverlaySession(
      this.#group,
      overlay,
      must(written, 'what is written has all volumes of the view'),
      client,
      (inner) => this.#openPast(inner),
    );
  }

  #openPast(client: ExportClient): ExportSession {
    const session = new ViewSession(this.#group, this.#view, this.#volume, client);
    this.#volume.sessions.add(session);
    return session;
  }
}
