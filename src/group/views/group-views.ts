import { baseFor } from '../../history/bases.ts';
import { BaseFiles } from '../../history/base-files.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Disk } from '../../platform/disk.ts';
import { JnbdError, messageOf, refusedBySystem, systemErrorCode } from '../../platform/errors.ts';
import type { Journal } from '../../journal/journal.ts';
import type { CatalogSnapshot } from '../catalog/snapshots.ts';
import { checkName } from '../catalog/names.ts';
import type { GroupFiles } from '../catalog/group-files.ts';
import { readSealedJson, writeSealedJson } from '../catalog/sealed-json.ts';
import type { BaseBits } from './base-bits.ts';
import { GroupHistory } from './group-history.ts';
import type { HistoryGroup, HistoryUsers } from './history-group.ts';
import type { StoredBase } from './stored-bases.ts';
import { type Proven, readProven, writeProven } from './proven.ts';
import { nothingText, View, type ViewEntry } from './view.ts';
import { WritableViews } from './writable-views.ts';

interface ViewsFile {
  readonly formatVersion: 1;
  readonly views: readonly ViewEntry[];
}

export interface ViewedGroup extends HistoryGroup {
  readonly failureText: string;
  readonly journal: Journal;
  readonly snapshots: {
    readonly living: readonly CatalogSnapshot[];
    readonly clones: { find(name: string): unknown };
  };
  readonly replies: { readonly gate: { readonly answerable: number } };
}

interface Dependencies {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
}

/** What was kept of views when the group was opened. */
export interface KnownPast {
  readonly bases: readonly StoredBase[];
  readonly views: readonly ViewEntry[];
}

const viewsMax = 16;

/** Throws JnbdError: catalog_damaged, format_newer. */
export function readViews(disk: Disk, files: GroupFiles): readonly ViewEntry[] {
  return readSealedJson<ViewsFile>(disk, files.views)?.views ?? [];
}

/** The views of a group on this system, and the window of the past that they are made of. */
export class GroupViews implements HistoryUsers {
  readonly history: GroupHistory;
  readonly #deps: Dependencies;
  readonly #group: ViewedGroup;
  readonly #files: GroupFiles;
  readonly #baseFiles: BaseFiles;
  readonly #views: View[];
  readonly #writable: WritableViews;
  /** Views that wait for a base to be made of. */
  #waiting = 0;
  #proven: Proven | undefined;
  #isClosed = false;

  constructor(deps: Dependencies, group: ViewedGroup, files: GroupFiles, known: KnownPast) {
    this.#deps = deps;
    this.#group = group;
    this.#files = files;
    this.#baseFiles = new BaseFiles(deps.disk);
    this.#writable = new WritableViews({ ...deps, group, files });
    this.#views = [...known.views.map((entry) => new View(entry)), ...this.#writable.kept()];
    this.#proven = readProven(deps.disk, files.proven);
    this.history = new GroupHistory(deps, group, files, known.bases, this);
  }

  get list(): readonly View[] {
    return this.#views.filter(({ isPassing }) => !isPassing);
  }

  get isNeeded(): boolean {
    return this.#waiting > 0 || this.#views.length > 0;
  }

  get isWaiting(): boolean {
    return this.#waiting > 0;
  }

  get oldestBase(): number {
    return Math.min(Number.POSITIVE_INFINITY, ...this.#views.map(({ entry }) => entry.base));
  }

  /** What the last drill said. */
  get proven(): Proven | undefined {
    return this.#proven;
  }

  /** That a check of update `number` said so. Throws write_failed, disk_full. */
  prove(number: number, result: Proven['result']): Proven {
    const atMilliseconds = this.#deps.clock.wallMilliseconds();
    const passedAtMilliseconds =
      result === 'passed' ? atMilliseconds : this.#proven?.passedAtMilliseconds;
    const proven: Proven = { number, atMilliseconds, result, passedAtMilliseconds };
    writeProven(this.#deps.disk, this.#files.proven, proven);
    this.#proven = proven;
    this.#group.changed();
    return proven;
  }

  find(name: string): View | undefined {
    return this.#views.find(({ entry }) => entry.name === name);
  }

  /** The group serves: what was there before is there again. */
  start(): void {
    this.history.start();
    for (const view of this.#views) {
      void this.#open(view).catch((error: unknown) => {
        if (this.#isClosed) return;
        const isPossible = this.history.bases.some(({ number }) => number === view.entry.base);
        if (view.isWritable && isPossible) this.#writable.unusable(view, messageOf(error));
        else this.#lose(view, messageOf(error));
      });
    }
  }

  /** Syncs what was written to views. Sessions were told to go. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.history.close();
    for (const view of this.#views) view.end(this.#group.failureText);
    this.#baseFiles.close();
    await this.#writable.close(this.#views);
  }

  /**
   * Shows update `number`, or what is newest, under that name, or one made of the number; `isWritable`: what hosts
   * write to it is kept on this system alone, until it ends. `created` false: it was there. Rejects with JnbdError:
   * state_refuses, exists_differently, record_unreadable, write_failed, disk_full.
   */
  async create(
    name: string | undefined,
    number: number | undefined,
    isWritable = false,
  ): Promise<{ readonly view: View; readonly created: boolean }> {
    if (name !== undefined) checkName('view', name);
    const named = name === undefined ? undefined : this.find(name);
    if (named) return { view: this.#same(named, number, isWritable), created: false };
    this.#checkPossible(number);
    this.#checkCount();
    const { at, base } = await this.#position(number);
    const ownName = name ?? `at-${at}`;
    const known = this.find(ownName);
    if (known) return { view: this.#same(known, at, isWritable), created: false };
    this.#checkName(ownName);
    const createdAtMilliseconds = this.#deps.clock.wallMilliseconds();
    const view = new View({ name: ownName, number: at, base, createdAtMilliseconds }, isWritable);
    this.#views.push(view);
    try {
      await this.#open(view);
      if (view.state === 'ended') throw new JnbdError('state_refuses', view.reason);
      if (view.volumes.length === 0) throw this.#refusal(nothingText(view));
      if (isWritable) this.#writable.make(view);
      else this.#write();
    } catch (error) {
      this.forget(view, messageOf(error));
      throw refusedBySystem(error, 'write_failed', `cannot make view ${ownName}`) ?? error;
    }
    this.#group.changed();
    return { view, created: true };
  }

  /**
   * As `create`, for somebody in this process alone: no host sees it, nothing is written down, and `forget` ends it.
   */
  async glimpse(number: number): Promise<View> {
    this.#checkPossible(number);
    const { base } = await this.#position(number);
    const view = new View({ name: '', number, base, createdAtMilliseconds: 0 });
    this.#views.push(view);
    try {
      await this.#open(view);
      if (view.state === 'ended') throw new JnbdError('state_refuses', view.reason);
    } catch (error) {
      this.forget(view, messageOf(error));
      throw refusedBySystem(error, 'read_failed', `cannot show update ${number}`) ?? error;
    }
    return view;
  }

  /** False: there is none. Rejects with JnbdError: volume_in_use, confirmation_needed, write_failed, disk_full. */
  async delete(name: string, force: boolean): Promise<boolean> {
    const view = this.find(name);
    if (!view) return false;
    const peers = view.sessions.map(({ client }) => client.peer);
    if (peers.length > 0 && !force) {
      throw new JnbdError(
        'volume_in_use',
        `view ${this.#group.name}@${name} is in use by ${peers.join(', ')}; disconnect them first, or add --force`,
      );
    }
    this.#writable.checkLoss(view, force);
    const reason = `view ${this.#group.name}@${name} was deleted`;
    try {
      if (!view.isWritable) this.#write(view);
      this.forget(view, reason);
      await this.#writable.remove(view);
    } catch (error) {
      throw refusedBySystem(error, 'write_failed', `cannot delete view ${name}`) ?? error;
    }
    this.#group.changed();
    return true;
  }

  baseBegan(open: BaseBits): void {
    for (const view of this.#views)
      if (view.state === 'open') for (const { blocks } of view.volumes) blocks.baseBegan(open);
  }

  basesDropped(directories: readonly string[]): void {
    for (const directory of directories) this.#baseFiles.forget(directory);
  }

  endOldest(reason: string): boolean {
    const { oldestBase } = this;
    const oldest = this.#views.filter(({ entry }) => entry.base === oldestBase);
    for (const view of oldest) this.#lose(view, reason);
    return oldest.length > 0;
  }

  endAll(reason: string): void {
    for (const view of this.#views.slice()) this.#lose(view, reason);
  }

  /** Which update it is to show, and the base that shows it. */
  async #position(
    number: number | undefined,
  ): Promise<{ readonly at: number; readonly base: number }> {
    const { history } = this;
    const { gate } = this.#group.replies;
    const known = baseFor(history.bases, number ?? gate.answerable);
    if (known) return { at: number ?? gate.answerable, base: known.number };
    const { applied } = this.#group.watermarks;
    if (number !== undefined && number < applied) throw this.#tooOld(number);
    this.#waiting += 1;
    try {
      await history.begin();
      const at = number ?? gate.answerable;
      const base = baseFor(history.bases, at);
      if (!base) throw this.#tooOld(at);
      return { at, base: base.number };
    } finally {
      this.#waiting -= 1;
    }
  }

  async #open(view: View): Promise<void> {
    const { history } = this;
    const base = history.bases.find(({ number }) => number === view.entry.base);
    if (!base) throw this.#refusal('what it was made of is not kept any more');
    const { disk } = this.#deps;
    const pathOf = (id: number): string => this.#files.volume(id);
    await view.open(disk, this.#group, this.#baseFiles, base, pathOf, () => {
      const from = history.bases.filter(({ number }) => number >= base.number);
      const { open } = history;
      if (!open) throw this.#refusal('its history was ended');
      return { closed: from.slice(0, -1).map(({ directory }) => directory), open };
    });
    this.#group.changed();
  }

  #checkPossible(number: number | undefined): void {
    const { state, failureText, catalog, replies, watermarks } = this.#group;
    if (state !== 'normal') throw this.#refusal(`it is ${state}: ${failureText}`);
    if (catalog.journalOnly === true) throw this.#refusal('it keeps the journal alone here');
    const { answerable } = replies.gate;
    if (number !== undefined && number > answerable) {
      const what = number > watermarks.newest ? 'is not there' : 'is not durable';
      throw this.#refusal(
        `update ${number} ${what} yet; the newest that can be shown is ${answerable}`,
      );
    }
  }

  #checkCount(): void {
    const { name } = this.#group;
    if (this.list.length < viewsMax) return;
    throw this.#refusal(`it has ${viewsMax} views already; next: jnbd view delete ${name}@NAME`);
  }

  #same(view: View, number: number | undefined, isWritable: boolean): View {
    const { name, number: known } = view.entry;
    const full = `${this.#group.name}@${name}`;
    const next = `next: jnbd view delete ${full}`;
    if (number !== undefined && number !== known) {
      const text = `view ${full} shows update ${known}, not ${number}; ${next}`;
      throw new JnbdError('exists_differently', text);
    }
    if (view.isWritable === isWritable) return view;
    const text = `view ${full} ${isWritable ? 'cannot' : 'can'} be written to; ${next}`;
    throw new JnbdError('exists_differently', text);
  }

  #checkName(name: string): void {
    if (this.#writable.isLeaving(name))
      throw this.#refusal(`a view ${name} is being deleted; try again`);
    const { living, clones } = this.#group.snapshots;
    const isSnapshot = living.some((snapshot) => snapshot.name === name);
    if (!isSnapshot && !clones.find(name)) return;
    const what = isSnapshot ? 'snapshot' : 'clone';
    const text = `group ${this.#group.name} has a ${what} ${name}, whose exports have that name`;
    throw new JnbdError('exists_differently', text);
  }

  #tooOld(number: number): JnbdError {
    const { name, catalog } = this.#group;
    const { from } = this.history;
    if (from !== undefined)
      return this.#refusal(`update ${number} is not kept any more; its history begins at ${from}`);
    const why =
      catalog.history === undefined
        ? `what was overwritten is not kept; from now on it is with: jnbd group configure ${name} --history 24h`
        : 'its history has not begun yet';
    return this.#refusal(`update ${number} is in its volumes, and ${why}`);
  }

  #refusal(why: string): JnbdError {
    return new JnbdError('state_refuses', `group ${this.#group.name} cannot be shown: ${why}`);
  }

  /** What it shows is not there any more. */
  #lose(view: View, reason: string): void {
    const { name } = view.entry;
    if (view.isPassing) {
      this.forget(view, reason);
      return;
    }
    const text = `view ${this.#group.name}@${name} ended: ${reason}${this.#writable.lossTextOf(view)}`;
    this.forget(view, text);
    this.#deps.event('view_ended', text, { group: this.#group.name, view: name });
    // What stays is found at the next start, and nothing that it could be made of.
    const ignored = (error: unknown): void => {
      if (systemErrorCode(error) === undefined) throw error;
    };
    if (view.isWritable) void this.#writable.remove(view).catch(ignored);
    else
      try {
        this.#write();
      } catch (error) {
        ignored(error);
      }
  }

  /** Nobody looks at it any more. */
  forget(view: View, reason: string): void {
    const at = this.#views.indexOf(view);
    if (at >= 0) this.#views.splice(at, 1);
    view.end(reason);
    this.history.usersChanged();
  }

  /** Those that are whole. Throws system errors. */
  #write(without?: View): void {
    const views = this.list.filter(
      (view) => view !== without && view.state !== 'ended' && !view.isWritable,
    );
    const file: ViewsFile = { formatVersion: 1, views: views.map(({ entry }) => entry) };
    writeSealedJson(this.#deps.disk, this.#files.views, file);
  }
}
