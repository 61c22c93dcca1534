import type { Group } from '../../src/group/group.ts';
import type { FaultCounter } from './faults.ts';

/** Every change of state that a campaign has to bring about; those that this version cannot are left out. */
export const transitionKinds = [
  'group recovering -> normal',
  'group recovering -> abnormal',
  'group normal -> abnormal',
  'group normal -> closing',
  'group abnormal -> closing',
  'group closing -> closed',
  'volume unused -> normal',
  'volume normal -> abnormal',
  'volume abnormal -> normal',
  'area healthy -> slow',
  'area healthy -> failed',
  'area healthy -> missing',
  'area slow -> healthy',
  'area slow -> failed',
  'apply idle -> applying',
  'apply applying -> idle',
  'apply applying -> waiting',
  'apply waiting -> applying',
  'apply idle -> closed',
  'apply applying -> closed',
  'apply waiting -> closed',
] as const;

/** Counts changes of state by looking after every event. */
export class TransitionWatch {
  readonly #counter: FaultCounter;
  readonly #last = new Map<string, string>();
  readonly #groups = new Map<string, Group>();

  constructor(counter: FaultCounter) {
    this.#counter = counter;
    counter.expect(transitionKinds);
  }

  /** A process ended: the next one starts from nothing. */
  forget(): void {
    this.#last.clear();
    this.#groups.clear();
  }

  look(groups: ReadonlyMap<string, Group>): void {
    for (const [name, group] of groups) this.#groups.set(name, group);
    for (const [name, group] of this.#groups) {
      this.#see(`group ${name}`, 'group', 'recovering', group.state);
      this.#see(`apply ${name}`, 'apply', 'idle', group.applyState);
      for (const area of group.areas) {
        this.#see(`area ${name} ${area.path}`, 'area', 'healthy', area.state);
      }
      for (const volume of group.volumes.values()) {
        const key = `volume ${name} ${volume.catalog.id}`;
        this.#see(key, 'volume', volume.catalog.state, volume.state);
      }
    }
  }

  #see(key: string, what: string, initial: string, state: string): void {
    const before = this.#last.get(key) ?? initial;
    if (before === state && this.#last.has(key)) return;
    this.#last.set(key, state);
    if (before === state) return;
    if (what === 'group' && state === 'closed' && before !== 'closing') {
      // It closes within one event where nothing is owed.
      this.#counter.count(`group ${before} -> closing`);
      this.#counter.count('group closing -> closed');
    } else {
      this.#counter.count(`${what} ${before} -> ${state}`);
    }
  }
}
