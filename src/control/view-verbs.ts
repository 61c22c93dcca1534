import { pastUpdateAt } from '../group/roles/update-at.ts';
import type { Group } from '../group/order/group.ts';
import type { System } from '../group/system/system.ts';
import { changedExtents } from '../group/views/changed-extents.ts';
import type { View } from '../group/views/view.ts';
import type { Disk } from '../platform/disk.ts';
import { JnbdError } from '../platform/errors.ts';
import type { Parameters, Result } from './schema.ts';
import type { StatusReport } from './status.ts';
import { provenStatusOf } from './view-status.ts';

export interface ViewVerbSources {
  readonly system: System;
  readonly disk: Disk;
  readonly report: StatusReport;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
}

/** Carries out the verbs about the past. */
export class ViewVerbs {
  readonly #sources: ViewVerbSources;

  constructor(sources: ViewVerbSources) {
    this.#sources = sources;
  }

  async create({ group: name, at, name: wanted, writable }: Parameters<'view create'>) {
    const { system, disk, report } = this.#sources;
    const group = system.group(name);
    const number = at === 'latest' ? undefined : await pastUpdateAt(disk, group, at);
    const { view, created } = await group.views.create(wanted, number, writable ?? false);
    if (created) {
      const what = `shows update ${view.entry.number}${view.isWritable ? ', and can be written to' : ''}`;
      this.#event('view_created', group, view.entry.name, what);
    }
    return {
      result: created ? ('done' as const) : ('already_done' as const),
      group: name,
      view: report.view(group, view),
    };
  }

  async delete({ view, force }: Parameters<'view delete'>): Promise<Result<'view delete'>> {
    const group = this.#sources.system.group(view.group);
    const deleted = await group.views.delete(view.name, force ?? false);
    if (deleted) this.#event('view_deleted', group, view.name, 'was deleted');
    return { result: deleted ? 'done' : 'already_done' };
  }

  async diff({ group: name, from, to }: Parameters<'view diff'>): Promise<Result<'view diff'>> {
    const { system, disk } = this.#sources;
    const group = system.group(name);
    const first = await this.#numberOf(disk, group, from);
    const last = await this.#numberOf(disk, group, to);
    const start = Math.min(first, last);
    const end = Math.max(first, last);
    const changed = await changedExtents(group, start, end);
    const volumes = changed.map(({ extents, ...each }) => ({ ...each, extents: [...extents] }));
    return { group: name, from: start, to: end, volumes };
  }

  prove({ view: path, result }: Parameters<'view prove'>): Promise<Result<'view prove'>> {
    const group = this.#sources.system.group(path.group);
    const view = this.#find(group, path.name);
    const { number } = view.entry;
    const proven = group.views.prove(number, result);
    this.#event(`drill_${result}`, group, path.name, `was checked at update ${number}: ${result}`);
    return Promise.resolve({ result: 'done', proven: provenStatusOf(proven) });
  }

  #numberOf(disk: Disk, group: Group, text: string): Promise<number> | number {
    return text === 'latest' ? group.watermarks.durable : pastUpdateAt(disk, group, text);
  }

  #find(group: Group, name: string): View {
    const view = group.views.find(name);
    if (view) return view;
    const names = group.views.list.map(({ entry }) => entry.name).join(', ') || 'none';
    const text = `view ${group.name}@${name} does not exist; there are: ${names}`;
    throw new JnbdError('view_not_found', text);
  }

  #event(code: string, group: Group, name: string, what: string): void {
    const view = `${group.name}@${name}`;
    this.#sources.event(code, `view ${view} ${what}`, { group: group.name, view });
  }
}
