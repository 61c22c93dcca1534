import type { Group } from '../../src/group/order/group.ts';
import type { View } from '../../src/group/views/view.ts';
import type { Campaign } from './campaign.ts';
import { KnownOverlays } from './changes-of-overlays.ts';
import { readExport } from './changes-of-snapshots.ts';

const viewsMax = 3;
const all = new WeakMap<Campaign, KnownViews>();

/** What views must show: by group, view and volume. */
export class KnownViews {
  readonly #contents = new Map<string, ReadonlyMap<string, Buffer>>();
  #made = 0;

  static of(campaign: Campaign): KnownViews {
    const known = all.get(campaign) ?? new KnownViews();
    all.set(campaign, known);
    return known;
  }

  /** Some groups keep their past, others only what views need. */
  async configure({ simulation, random }: Campaign): Promise<void> {
    for (const name of simulation.groups.keys())
      if (random.chance(0.7))
        await simulation.verb('group-configure', { group: name, history: '2h' });
  }

  /** The setting is another one, and nobody waits for what that brings about. */
  async reconfigure({ simulation, random }: Campaign, history: 'off' | '2h'): Promise<void> {
    for (const group of simulation.isServing ? simulation.groups.values() : []) {
      if (!simulation.isServing || group.state !== 'normal' || random.chance(0.5)) continue;
      await simulation.verb('group-configure', { group: group.name, history });
    }
  }

  /** What that view shows, by volume; undefined: it can be written to. */
  contentsOf(group: Group, { entry }: View): ReadonlyMap<string, Buffer> | undefined {
    return this.#contents.get(`${group.catalog.groupId} ${entry.name}`);
  }

  /** What is overwritten is kept anew from some moment on, which a view looks at. */
  async begin(campaign: Campaign): Promise<void> {
    const { simulation, random } = campaign;
    for (const group of simulation.isServing ? simulation.groups.values() : []) {
      if (!simulation.isServing || group.state !== 'normal' || random.chance(0.4)) continue;
      const begun = await simulation.settled(group.views.history.begin());
      if (begun === 'dead' || begun === 'late') return;
      if ('error' in begun) simulation.operatingError(begun.error, 'a base');
      else if (group.state === 'normal') await this.#create(campaign, group);
    }
  }

  /** Makes a view of some group, or deletes one. */
  async change(campaign: Campaign): Promise<void> {
    const { simulation, random } = campaign;
    if (!simulation.isServing) return;
    const group = random.pick([...simulation.groups.values()]);
    if (!group || group.state !== 'normal') return;
    const list = group.views.list.filter(({ isWritable }) => !isWritable);
    if (list.length > 0 && random.chance(0.3 + (list.length >= viewsMax ? 1 : 0))) {
      const { name } = random.pick(list).entry;
      await simulation.verb('view-delete', { view: `${group.name}@${name}` });
      simulation.counter.count('view deleted');
      return;
    }
    await this.#create(campaign, group);
  }

  async #create(campaign: Campaign, group: Group): Promise<void> {
    const { simulation, random } = campaign;
    const stored = [...group.volumes.values()].filter(
      ({ catalog, state }) =>
        state === 'normal' &&
        catalog.state === 'normal' &&
        !catalog.journalOnly &&
        catalog.preserves === undefined,
    );
    if (stored.length === 0) return;
    this.#made += 1;
    const name = `v${this.#made}`;
    const model = simulation.tap.models.get(group.catalog.groupId);
    const from = Math.max(
      group.views.history.from ?? Number.POSITIVE_INFINITY,
      model?.base.number ?? 0,
    );
    const { answerable } = group.replies.gate;
    // Bases may go meanwhile, and with them what was chosen.
    const at =
      from <= answerable && random.chance(0.7) ? random.between(from, answerable) : 'latest';
    const image = at === 'latest' ? undefined : model?.imageAt(at);
    const wanted = at === 'latest' ? undefined : at;
    const isWritable = random.chance(0.3);
    const made = await simulation.settled(group.views.create(name, wanted, isWritable));
    if (made === 'late') simulation.fail(`view ${group.name}@${name} is not made in time`);
    if (made === 'dead' || made === 'late') return;
    if ('error' in made) {
      const { code } = simulation.operatingError(made.error, `view ${group.name}@${name}`);
      // Where the journal has no room the past goes, and what was to be made of it.
      if (
        code !== 'state_refuses' &&
        !simulation.excuses.has('disk') &&
        !simulation.excuses.has('space')
      )
        simulation.fail(`view ${group.name}@${name}: ${String(made.error)}`);
      simulation.counter.count('view not made');
      return;
    }
    const view = group.views.find(name);
    const shown = image ?? (view && model?.imageAt(view.entry.number));
    if (!view || !shown) return;
    const contents = new Map<string, Buffer>();
    for (const { catalog, contents: bytes } of shown.volumes.values())
      if (catalog.preserves === undefined && !catalog.journalOnly)
        contents.set(catalog.name, bytes);
    if (isWritable) KnownOverlays.of(campaign).add('view', group, name, contents);
    else this.#contents.set(`${group.catalog.groupId} ${name}`, contents);
    simulation.counter.count(at === 'latest' ? 'view of what was newest' : 'view of the past');
  }

  /** Every view shows what it was made of. */
  async read(campaign: Campaign): Promise<void> {
    const { simulation, random } = campaign;
    for (const group of simulation.isServing ? simulation.groups.values() : []) {
      for (const view of group.views.list.slice()) {
        const known = this.contentsOf(group, view);
        if (!known || !random.chance(0.6) || group.state !== 'normal') continue;
        if (view.state === 'opening') await simulation.until(() => view.state !== 'opening');
        for (const { entry } of view.state === 'open' ? view.volumes : []) {
          if (!simulation.isServing || group.state !== 'normal' || view.state !== 'open') break;
          const expected = known.get(entry.name);
          if (expected)
            await readExport(campaign, group, `${entry.name}@${view.entry.name}`, expected);
          simulation.counter.count('view read');
        }
      }
    }
  }
}
