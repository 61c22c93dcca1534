import type { Clock } from '../../platform/clock.ts';
import type { Disk } from '../../platform/disk.ts';
import { JnbdError } from '../../platform/errors.ts';
import { formatSize } from '../../platform/size-text.ts';
import type { Conditions } from '../catalog/conditions.ts';
import type { GroupFiles } from '../catalog/group-files.ts';
import { OverlayDirectory, type OverlayEntry } from '../overlays/overlay-directory.ts';
import { View, type ViewEntry } from './view.ts';

/** In the directory of a view that can be written to; it is not in the file of the others. */
export interface WritableViewEntry extends ViewEntry, OverlayEntry {}

/** Where the views of a group are that can be written to. */
export function writableViewDirectory(
  disk: Disk,
  files: GroupFiles,
): OverlayDirectory<WritableViewEntry> {
  return new OverlayDirectory<WritableViewEntry>(disk, files.writableViews, 'view');
}

interface Parts {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly group: { readonly name: string; readonly conditions: Conditions };
  readonly files: GroupFiles;
}

/** The views of a group that hosts can write to: what is written is kept on this system alone, while the view is there. */
export class WritableViews {
  readonly #clock: Clock;
  readonly #group: Parts['group'];
  readonly #directory: OverlayDirectory<WritableViewEntry>;
  /** Of what nobody needs any more. */
  readonly #removals = new Set<Promise<void>>();

  constructor({ disk, clock, group, files }: Parts) {
    this.#clock = clock;
    this.#group = group;
    this.#directory = writableViewDirectory(disk, files);
  }

  /** Those that are kept, once. Throws JnbdError: catalog_damaged, format_newer. */
  kept(): View[] {
    return this.#directory.entries().map((entry) => {
      const view = new View(entry, true, this.#directory.open(entry, this.#clock));
      const failure = view.overlay?.failure ?? '';
      if (failure !== '') this.#raise(view, failure);
      return view;
    });
  }

  /** One of that name was deleted, and is not gone yet. */
  isLeaving(name: string): boolean {
    return this.#directory.isLeaving(name);
  }

  /** From here on the view is kept. Throws system errors, and then it is not. */
  make(view: View): void {
    const volumes = view.volumes.map(({ entry: { id, name, sizeBytes } }) => ({
      id,
      name,
      dataBytes: sizeBytes,
    }));
    const entry: WritableViewEntry = { formatVersion: 1, ...view.entry, volumes };
    view.overlay = this.#directory.make(entry, this.#clock);
  }

  /** It cannot be shown now, and may be after the next start: what was written to it stays. */
  unusable(view: View, why: string): void {
    view.end(why);
    this.#raise(view, why);
  }

  /** Throws confirmation_needed. */
  checkLoss(view: View, isForced: boolean): void {
    if (isForced || view.overlay?.isWritten !== true) return;
    throw new JnbdError('confirmation_needed', `${this.#lossText(view)} with it; add --force`);
  }

  /** For whoever is told that it ended. */
  lossTextOf(view: View): string {
    return view.overlay?.isWritten === true ? `; ${this.#lossText(view)}` : '';
  }

  /** What was written to it is gone when this resolves. Nobody sees the view any more. Rejects with system errors. */
  async remove({ overlay, entry }: View): Promise<void> {
    if (!overlay) return;
    const full = this.#fullName(entry);
    this.#group.conditions.clear(full, 'view_unusable', `view ${full} is gone`);
    const removal = this.#directory.remove(overlay);
    this.#removals.add(removal);
    try {
      await removal;
    } finally {
      this.#removals.delete(removal);
    }
  }

  /** Syncs what was written. Sessions were told to go. */
  async close(views: readonly View[]): Promise<void> {
    await Promise.all(views.flatMap(({ overlay }) => overlay?.close() ?? []));
    await Promise.allSettled(this.#removals);
  }

  #fullName({ name }: ViewEntry): string {
    return `${this.#group.name}@${name}`;
  }

  #lossText({ entry, overlay }: View): string {
    const size = formatSize(overlay?.allocatedBytes ?? 0);
    return `what was written to view ${this.#fullName(entry)} (${size}) is nowhere else, and lost`;
  }

  #raise({ entry }: View, why: string): void {
    const full = this.#fullName(entry);
    this.#group.conditions.raise(full, {
      code: 'view_unusable',
      severity: 'error',
      message: `view ${full} cannot be used: ${why}`,
      nextCommand: `jnbd view delete ${full} --force`,
    });
  }
}
