import type { Group } from '../../src/group/order/group.ts';
import type { Overlay } from '../../src/group/overlays/overlay.ts';
import { JnbdError } from '../../src/platform/errors.ts';
import type { Campaign } from './campaign.ts';
import type { DaemonEvent, SimulatedDaemon } from './simulated-daemon.ts';
import { WrittenDisk, type WritingMachine } from './written-disk.ts';

const overlaysMax = 3;
const all = new WeakMap<Campaign, KnownOverlays>();

/** The daemon died, or what was to be written to is not there any more. */
class Gone extends Error {}

interface KnownOverlay {
  readonly kind: 'clone' | 'view';
  readonly group: string;
  readonly name: string;
  readonly disks: readonly WrittenDisk[];
  /** It was being deleted, and may be gone. */
  isGoing: boolean;
}

/** Clones of snapshots, and views that can be written to: each is a disk of its own, whatever becomes of the daemon. */
export class KnownOverlays {
  readonly #campaign: Campaign;
  readonly #machine: WritingMachine;
  readonly #known = new Set<KnownOverlay>();
  #eventsBefore: readonly DaemonEvent[] = [];
  #made = 0;

  private constructor(campaign: Campaign) {
    this.#campaign = campaign;
    this.#machine = machineOf(campaign);
  }

  static of(campaign: Campaign): KnownOverlays {
    const known = all.get(campaign) ?? new KnownOverlays(campaign);
    all.set(campaign, known);
    return known;
  }

  /** `contents` by volume: what it begins with. */
  add(kind: 'clone' | 'view', group: Group, name: string, contents: ReadonlyMap<string, Buffer>) {
    const disks = [...contents].map(
      ([volume, bytes]) => new WrittenDisk(this.#machine, `${group.name}/${volume}@${name}`, bytes),
    );
    this.#known.add({ kind, group: group.name, name, disks, isGoing: false });
    this.#count(kind, 'made');
  }

  /** Makes a clone of some snapshot, or deletes what somebody writes to. */
  async change(): Promise<void> {
    const { simulation, random } = this.#campaign;
    if (!simulation.isServing) return;
    const known = [...this.#known];
    if (known.length > 0 && random.chance(0.25 + (known.length >= overlaysMax ? 1 : 0))) {
      await this.#delete(random.pick(known));
      return;
    }
    const group = random.pick([...simulation.groups.values()]);
    if (!group || group.state !== 'normal') return;
    const possible = group.snapshots.living.filter(({ number }) => number <= group.catalog.number);
    if (possible.length === 0) return;
    const { name: snapshot, number } = random.pick(possible);
    this.#made += 1;
    const name = `c${this.#made}`;
    const input = { snapshot: `${group.name}@${snapshot}`, writable: name };
    if ((await simulation.verb('snapshot-export', input)) !== 'done') return;
    const model = simulation.tap.models.get(group.catalog.groupId);
    const contents = new Map<string, Buffer>();
    for (const { entry } of group.snapshots.clones.find(name)?.volumes ?? []) {
      const bytes = model?.current.snapshots.contents(number, entry.id);
      if (bytes) contents.set(entry.name, bytes);
    }
    this.add('clone', group, name, contents);
  }

  async #delete(known: KnownOverlay): Promise<void> {
    const { simulation, random } = this.#campaign;
    const { kind, group: groupName, name } = known;
    const group = simulation.groups.get(groupName);
    if (group?.state !== 'normal' || !this.#isThere(known)) return;
    for (const disk of known.disks) disk.close();
    const full = `${groupName}@${name}`;
    const isWritten = this.#overlayOf(known)?.isWritten ?? false;
    const verb = kind === 'clone' ? 'snapshot-delete' : 'view-delete';
    const input = kind === 'clone' ? { snapshot: full } : { view: full };
    if (isWritten && random.chance(0.3)) {
      await simulation.verb(verb, input, 'confirmation_needed');
      return;
    }
    known.isGoing = true;
    if ((await simulation.verb(verb, { ...input, force: true })) === 'dead') return;
    this.#known.delete(known);
    this.#count(kind, 'deleted');
    if (simulation.machine.tree.find(directoryOf(known)))
      simulation.fail(`${full} was deleted, and its files are there`);
  }

  /** A snapshot of that number cannot be deleted. */
  isUnder(group: Group, number: number): boolean {
    return group.snapshots.clones.of(number).length > 0;
  }

  /** Some of what hosts do. */
  async work(): Promise<void> {
    const { random } = this.#campaign;
    for (const known of this.#known) {
      await this.#with(known, async () => {
        const disks = this.#shown(known);
        if (disks.length === 0) return;
        const disk = random.pick(disks);
        for (let left = random.between(1, 6); left > 0; left -= 1) {
          const chance = random.int(100);
          if (chance < 55) await disk.write();
          else if (chance < 70) await disk.clear();
          else if (chance < 80) await disk.burst();
          else if (chance < 95) await disk.flush();
          else await disk.check();
        }
        this.#count(known.kind, 'written');
      });
    }
  }

  async check(): Promise<void> {
    for (const known of this.#known) {
      await this.#with(known, async () => {
        for (const disk of this.#shown(known)) {
          await disk.check();
          disk.checkExtents();
        }
        this.#count(known.kind, 'checked');
      });
    }
  }

  /** Before the daemon ends, or once it died. */
  beforeEnd(daemon: SimulatedDaemon = this.#campaign.simulation.daemon): void {
    this.#eventsBefore = daemon.events;
    for (const { disks } of this.#known) for (const disk of disks) disk.forgetHost();
  }

  /** Each is what was flushed, or anything later. */
  async afterStart(): Promise<void> {
    const { simulation } = this.#campaign;
    this.#checkLost();
    for (const known of this.#known) {
      const { kind, name, group } = known;
      if (!simulation.isServing || simulation.groups.get(group)?.state !== 'normal') continue;
      if (known.isGoing) {
        this.#known.delete(known);
        if (!this.#isThere(known)) continue;
        const verb = kind === 'clone' ? 'snapshot-delete' : 'view-delete';
        const full = `${group}@${name}`;
        await simulation.verb(verb, {
          ...(kind === 'clone' ? { snapshot: full } : { view: full }),
          force: true,
        });
        continue;
      }
      await this.#with(known, async () => {
        for (const disk of this.#shown(known)) await disk.adopt();
        this.#count(kind, 'there after a crash');
      });
    }
  }

  /** A start takes no view, unless what it is made of was being let go when the life before ended. */
  #checkLost(): void {
    const { simulation } = this.#campaign;
    const wasShortened = this.#eventsBefore.some(({ code }) => code.startsWith('history_'));
    if (wasShortened || simulation.daemon.isDead) return;
    const lost = simulation.daemon.events.find(
      ({ code, message }) => code === 'view_ended' && message.includes('made of is not kept'),
    );
    if (lost) simulation.fail(`after a start: ${lost.message}`);
  }

  /** Nothing is asked of one that is gone, and whoever dies meanwhile is nobody's fault. */
  async #with(known: KnownOverlay, run: () => Promise<void>): Promise<void> {
    const { simulation } = this.#campaign;
    const { kind, group: groupName, name } = known;
    if (!simulation.isServing || known.isGoing || known.disks.length === 0) return;
    const group = simulation.groups.get(groupName);
    if (group?.state !== 'normal') return;
    if (kind === 'view' && group.views.find(name)?.state === 'opening')
      await simulation.until(() => group.views.find(name)?.state !== 'opening');
    if (simulation.daemon.isDead) return;
    if (!this.#isThere(known)) {
      this.#ended(known);
      return;
    }
    try {
      await run();
    } catch (error) {
      if (simulation.daemon.isDead || group.state !== 'normal') return;
      if (!this.#isThere(known)) this.#ended(known);
      else if (error instanceof JnbdError && simulation.excuses.has('disk')) return;
      else throw error;
    }
  }

  #ended(known: KnownOverlay): void {
    const { simulation } = this.#campaign;
    const { kind, group, name } = known;
    const told = [...this.#eventsBefore, ...simulation.daemon.events].find(
      ({ code, message }) =>
        code === 'view_ended' && message.startsWith(`view ${group}@${name} ended`),
    );
    if (told) simulation.note(told.message);
    if (kind === 'clone' || !told) simulation.fail(`${kind} ${group}@${name} is gone`);
    this.#known.delete(known);
    this.#count(kind, 'ended');
  }

  /** A volume that was deleted since, or was not filled yet, is in no view. */
  #shown({ kind, group: groupName, name, disks }: KnownOverlay): WrittenDisk[] {
    if (kind === 'clone') return [...disks];
    const group = this.#campaign.simulation.groups.get(groupName);
    const shown = group?.views.find(name)?.volumes ?? [];
    const names = shown.map(({ entry }) => `${groupName}/${entry.name}@${name}`);
    return disks.filter(({ exportName }) => names.includes(exportName));
  }

  #isThere(known: KnownOverlay): boolean {
    return this.#overlayOf(known)?.failure === '';
  }

  #overlayOf({ kind, group: groupName, name }: KnownOverlay): Overlay | undefined {
    const group = this.#campaign.simulation.groups.get(groupName);
    if (kind === 'clone') return group?.snapshots.clones.find(name)?.overlay;
    return group?.views.find(name)?.overlay;
  }

  #count(kind: KnownOverlay['kind'], what: string): void {
    const name = kind === 'clone' ? 'clone' : 'writable view';
    this.#campaign.simulation.counter.count(`${name} ${what}`);
  }
}

function directoryOf({ kind, group, name }: KnownOverlay): string {
  return `/data/groups/${group}/${kind === 'clone' ? 'clones' : 'writable-views'}/${name}`;
}

function machineOf({ simulation, random }: Campaign): WritingMachine {
  const own = random.fork('written');
  const until = async (isDone: () => boolean): Promise<void> => {
    const outcome = await simulation.until(isDone);
    if (outcome === 'dead') throw new Gone();
    if (outcome === 'late') simulation.fail('what was asked of a clone or a view does not end');
  };
  return {
    random: own,
    get system() {
      return simulation.daemon.composed.system;
    },
    get disk() {
      return simulation.daemon.disk;
    },
    until,
    async run(promise) {
      const result = await simulation.settled(promise);
      if (result === 'dead') throw new Gone();
      if (result === 'late')
        return simulation.fail('what was asked of a clone or a view does not end');
      if ('error' in result) throw result.error;
      return result.value;
    },
  };
}
