import { assert } from '../../platform/assert.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import type { Conditions } from '../catalog/conditions.ts';
import type { ApplyDriver } from './apply-driver.ts';
import { shownVolumes, type Volume, volumesToApply } from './volume.ts';

/** What keeping checksums needs of the group. */
export interface UpkeepGroup {
  readonly name: string;
  readonly clock: Clock;
  readonly catalog: { readonly checksums?: boolean; readonly journalOnly?: boolean };
  readonly conditions: Conditions;
  readonly volumes: ReadonlyMap<string, Volume>;
  readonly driver: ApplyDriver;
}

/**
 * `off`: none are kept, and none are there. `removing`, `opening`: apply was asked to give up what is there, or to
 * go on with it. `unremoved`, `unopened`: that failed, and is tried again later. `building`: those of some volumes
 * are not known, and a piece of a volume is read soon. `working`: one is being read; `outdated`: and there are
 * other volumes by now. `complete`: the sums of all volumes are known.
 */
export type UpkeepState =
  | 'off'
  | 'removing'
  | 'unremoved'
  | 'opening'
  | 'unopened'
  | 'building'
  | 'working'
  | 'outdated'
  | 'complete'
  | 'closed';

export const upkeepTransitions: Record<UpkeepState, readonly UpkeepState[]> = {
  off: ['opening', 'removing', 'closed'],
  removing: ['off', 'unremoved', 'opening', 'closed'],
  unremoved: ['removing', 'opening', 'closed'],
  opening: ['building', 'unopened', 'removing', 'closed'],
  unopened: ['opening', 'removing', 'closed'],
  building: ['working', 'removing', 'closed'],
  working: ['complete', 'building', 'outdated', 'removing', 'closed'],
  outdated: ['building', 'removing', 'closed'],
  complete: ['building', 'removing', 'closed'],
  closed: [],
};

const keptStates: ReadonlySet<UpkeepState> = new Set<UpkeepState>([
  'opening',
  'unopened',
  'building',
  'working',
  'outdated',
  'complete',
]);

/** Between two pieces of a volume that is read to build its checksums. */
const workMilliseconds = 50;
const retryMilliseconds = 60_000;

/** Has apply keep the checksums of a group's volumes, build those that are not there, and give them up. */
export class ChecksumUpkeep {
  readonly #group: UpkeepGroup;
  readonly #directory: string;
  #state: UpkeepState = 'off';
  /** Apply answers in order: what was asked before the last of them is over. */
  #unanswered = 0;
  #timer: Timer | undefined;

  constructor(group: UpkeepGroup, directory: string) {
    this.#group = group;
    this.#directory = directory;
  }

  /** The setting. */
  get isOn(): boolean {
    const { checksums = true, journalOnly = false } = this.#group.catalog;
    return checksums && !journalOnly;
  }
  /** The setting is obeyed, or tried to be. */
  get isKept(): boolean {
    return keptStates.has(this.#state);
  }
  get isComplete(): boolean {
    return this.#state === 'complete';
  }
  get checked(): Volume[] {
    return shownVolumes(this.#group.volumes).filter(({ file }) => file !== undefined);
  }

  /** `isKept`: the checkpoint says that what is there was kept up to it. */
  start(isKept: boolean): void {
    if (this.isOn) this.#open(isKept);
    else this.#remove();
  }

  /** False: it is as it was. */
  settingChanged(): boolean {
    if (this.#state === 'closed' || this.isOn === this.isKept) return false;
    this.start(false);
    return true;
  }

  /** There are more of them, or fewer; or of one that could not be kept nobody told. */
  volumesChanged(): void {
    if (this.#state === 'complete') this.#become('building', workMilliseconds);
    else if (this.#state === 'working') this.#become('outdated');
  }

  close(): void {
    if (this.#state !== 'closed') this.#become('closed');
  }

  #open(isKept: boolean): void {
    this.#become('opening');
    this.#unanswered += 1;
    this.#group.driver.requests.keepChecksums(this.#directory, { isKept }, this.#answered);
  }

  #remove(): void {
    this.#become('removing');
    this.#unanswered += 1;
    this.#group.driver.requests.keepChecksums(this.#directory, undefined, this.#answered);
  }

  #work(): void {
    this.#become('working');
    this.#unanswered += 1;
    const volumes = volumesToApply(this.checked);
    this.#group.driver.requests.workOnChecksums(volumes, this.#answered);
  }

  readonly #answered = (isComplete: boolean, answered: string | undefined): void => {
    this.#unanswered -= 1;
    if (this.#state === 'closed' || this.#unanswered > 0) return;
    // A volume that was deleted meanwhile is not there to be read. What else failed will fail again.
    const failure = this.#state === 'outdated' ? undefined : answered;
    const delay = failure === undefined ? workMilliseconds : retryMilliseconds;
    if (failure !== undefined) this.#raise(failure);
    switch (this.#state) {
      case 'opening':
        this.#become(failure === undefined ? 'building' : 'unopened', delay);
        return;
      case 'removing':
        if (failure === undefined) this.#settled('off');
        else this.#become('unremoved', delay);
        return;
      case 'working':
        if (failure !== undefined || !isComplete) this.#become('building', delay);
        else {
          this.#settled('complete');
          // What was built is not read again at the next start.
          this.#group.driver.sync(() => undefined);
        }
        return;
      default:
        this.#become('building', delay);
    }
  };

  readonly #due = (): void => {
    this.#timer = undefined;
    if (this.#state === 'building') this.#work();
    // What is there after a failure is not believed.
    else this.start(false);
  };

  #settled(state: 'off' | 'complete'): void {
    this.#become(state);
    const { conditions, name } = this.#group;
    conditions.clear(name, 'checksums_failed', `the checksums of group ${name} are kept again`);
  }

  #raise(failure: string): void {
    const { conditions, name } = this.#group;
    conditions.raise(name, {
      code: 'checksums_failed',
      severity: 'warning',
      message: `the checksums of group ${name} cannot be kept: ${failure}; it is tried again every ${retryMilliseconds / 1000} seconds, and meanwhile nothing shows whether both sides hold the same`,
      nextCommand: `df ${this.#directory}`,
    });
  }

  /** `delay`: until what comes next of it is done; where left out, something else does that. */
  #become(state: UpkeepState, delay?: number): void {
    const isValid = upkeepTransitions[this.#state].includes(state);
    assert(isValid, `checksums ${this.#state} -> ${state}`);
    this.#state = state;
    this.#timer?.cancel();
    this.#timer = delay === undefined ? undefined : this.#group.clock.after(delay, this.#due);
  }
}
