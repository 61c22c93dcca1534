import { applyTransitions } from '../../src/group/apply/apply-driver.ts';
import type { Group } from '../../src/group/order/group.ts';
import { groupTransitions, volumeTransitions } from '../../src/group/catalog/states.ts';
import type { Volume } from '../../src/group/apply/volume.ts';
import { Area, type AreaState } from '../../src/journal/area.ts';
import type { Journal } from '../../src/journal/journal.ts';
import type { JournalState } from '../../src/journal/journal-owner.ts';
import { SimulatedClock } from './simulated-clock.ts';
import { SimulatedDisk } from './simulated-disk.ts';
import { SimulatedRandom } from './simulated-random.ts';
import type { FaultCounter } from './faults.ts';

function ofTable(what: string, table: Readonly<Record<string, readonly string[]>>): string[] {
  return Object.entries(table).flatMap(([from, all]) =>
    all.map((to) => `${what} ${from} -> ${to}`),
  );
}

const areaStates = Object.keys({
  healthy: true,
  slow: true,
  failed: true,
  missing: true,
} satisfies Record<AreaState, true>) as AreaState[];

/** An area keeps its table to itself, but tells what it refuses. */
function areaTransitions(): string[] {
  const disk = new SimulatedDisk({
    clock: new SimulatedClock(),
    random: new SimulatedRandom('areas'),
  }).attach();
  const allows = (from: AreaState, to: AreaState): boolean => {
    const area = new Area(disk, '/area', 0);
    if (from !== area.state) area.become(from, '');
    try {
      area.become(to, '');
      return true;
    } catch {
      return false;
    }
  };
  return areaStates.flatMap((from) =>
    areaStates.filter((to) => from !== to && allows(from, to)).map((to) => `area ${from} -> ${to}`),
  );
}

const journalTransitions: Record<JournalState, readonly JournalState[]> = {
  open: ['failed', 'closed'],
  failed: [],
  closed: [],
};

/** Every change of state that the engine allows: a campaign has to bring each of them about. */
export const transitionKinds: readonly string[] = [
  ...ofTable('group', groupTransitions),
  ...ofTable('volume', volumeTransitions),
  ...ofTable('apply', applyTransitions),
  ...ofTable('journal', journalTransitions),
  ...areaTransitions(),
];

/** Counts changes of state by looking after every event. */
export class TransitionWatch {
  readonly #counter: FaultCounter;
  readonly #last = new Map<object, string>();
  readonly #lastApply = new Map<Group, string>();
  readonly #groups = new Set<Group>();
  readonly #volumes = new Set<Volume>();
  /** A group that never served has none. */
  readonly #journals = new Map<Group, Journal>();

  constructor(counter: FaultCounter) {
    this.#counter = counter;
    counter.expect(transitionKinds);
  }

  /** A process ended: the next one starts from nothing. */
  forget(): void {
    this.#last.clear();
    this.#lastApply.clear();
    this.#groups.clear();
    this.#volumes.clear();
    this.#journals.clear();
  }

  look(groups: ReadonlyMap<string, Group>): void {
    // Also those that are deleted: they close.
    for (const group of groups.values()) this.#groups.add(group);
    for (const group of this.#groups) {
      this.#seeGroup(group);
      this.#see(this.#lastApply, group, 'apply', 'idle', group.applyState);
      if (group.state === 'normal') this.#journals.set(group, group.journal);
      const journal = this.#journals.get(group);
      if (journal) this.#see(this.#last, journal, 'journal', 'open', journal.state);
      for (const area of group.areas) this.#see(this.#last, area, 'area', 'healthy', area.state);
      for (const volume of group.volumes.values()) this.#volumes.add(volume);
    }
    // Also those that are gone: a volume may be deleted within one event.
    for (const volume of this.#volumes) {
      this.#see(this.#last, volume, 'volume', volume.catalog.state, volume.state);
    }
  }

  #seeGroup(group: Group): void {
    const before = this.#last.get(group) ?? 'recovering';
    if (group.state === 'closed' && before !== 'closing' && before !== 'closed') {
      // It closes within one event where nothing is owed.
      this.#see(this.#last, group, 'group', before, 'closing');
    }
    this.#see(this.#last, group, 'group', 'recovering', group.state);
  }

  #see<T extends object>(
    last: Map<T, string>,
    key: T,
    what: string,
    initial: string,
    state: string,
  ): void {
    const before = last.get(key) ?? initial;
    if (before === state && last.has(key)) return;
    last.set(key, state);
    if (before !== state) this.#counter.count(`${what} ${before} -> ${state}`);
  }
}
