import type { FileRole } from '../../src/platform/disk.ts';
import { must } from '../../src/platform/assert.ts';
import type { SimulatedRandom } from './simulated-random.ts';

/**
 * How often each thing that can go wrong did. A campaign whose report has a zero did not test what it
 * seems to.
 */
export class FaultCounter {
  readonly #counts = new Map<string, number>();

  constructor(kinds: readonly string[] = []) {
    this.expect(kinds);
  }

  /** Kinds that have to happen; until they do their count is 0. */
  expect(kinds: readonly string[]): void {
    for (const kind of kinds) this.#counts.set(kind, this.#counts.get(kind) ?? 0);
  }

  count(kind: string, times = 1): void {
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + times);
  }

  of(kind: string): number {
    return this.#counts.get(kind) ?? 0;
  }

  add(other: FaultCounter): void {
    for (const [kind, times] of other.#counts) this.count(kind, times);
  }

  neverHappened(): string[] {
    return [...this.#counts].filter(([, times]) => times === 0).map(([kind]) => kind);
  }

  report(): Record<string, number> {
    return Object.fromEntries([...this.#counts].sort(([left], [right]) => (left < right ? -1 : 1)));
  }
}

/** What a simulated disk counts: those that rules bring about, then those of its own. */
export const diskFaultKinds = [
  'read_error',
  'write_error',
  'no_space',
  'sync_error',
  'bit_rot',
  'slow',
  'death',
  'disk_full',
  'cache_miss',
  'process_crash',
  'power_loss',
  'write_lost',
  'write_torn',
  'write_reordered',
  'allocation_lost',
  'entry_lost',
  'rename_undone',
  'removal_undone',
] as const;

export type RuledFaultKind =
  | 'read_error'
  | 'write_error'
  | 'no_space'
  | 'sync_error'
  | 'bit_rot'
  | 'slow'
  | 'death';

/**
 * `write` is every change of contents, preallocation and the like included; `read` is every way to
 * read; `entry` is create, rename, remove and making a directory.
 */
export type DiskOperation = 'read' | 'write' | 'sync' | 'entry' | 'sync_directory';

export interface FaultRule {
  /**
   * `read_error`, `write_error`, `sync_error`: EIO. `no_space`: ENOSPC. `bit_rot`: a bit of what is
   * about to be read flips on the device. `slow`: takes `milliseconds`. `death`: the process dies in
   * the middle of the operation.
   */
  readonly kind: RuledFaultKind;
  readonly operation: DiskOperation;
  readonly role?: FileRole;
  /** Files whose path begins with it. */
  readonly path?: string;
  /** The operation, counted from 1 among those that match, from which on it happens. */
  readonly nth?: number;
  /** How likely it is each time; 1 where nothing is said. */
  readonly probability?: number;
  /** How often at most; with `nth` once, else without end. */
  readonly times?: number;
  readonly milliseconds?: number;
  /** Only operations that the thread does not wait for. */
  readonly isLaterOnly?: boolean;
}

interface ActiveRule {
  readonly rule: FaultRule;
  matched: number;
  left: number;
}

const noRules: readonly FaultRule[] = [];

/** The faults that are to happen, in the order the rules were added. */
export class FaultPlan {
  readonly #random: SimulatedRandom;
  #active: ActiveRule[] = [];

  constructor(random: SimulatedRandom) {
    this.#random = random;
  }

  add(rule: FaultRule): void {
    const left = rule.times ?? (rule.nth === undefined ? Number.POSITIVE_INFINITY : 1);
    this.#active.push({ rule, matched: 0, left });
  }

  remove(rule: FaultRule): void {
    this.#active = this.#active.filter((active) => active.rule !== rule);
  }

  clear(): void {
    this.#active = [];
  }

  /** What the simulation itself does to files is struck by nothing. */
  without<T>(run: () => T): T {
    const active = this.#active;
    this.#active = [];
    try {
      return run();
    } finally {
      this.#active = active;
    }
  }

  /** The rules that strike this operation. */
  strike(
    operation: DiskOperation,
    role: FileRole | undefined,
    path: string,
    isLater = false,
  ): readonly FaultRule[] {
    if (this.#active.length === 0) return noRules;
    let struck: FaultRule[] | undefined;
    for (let at = 0; at < this.#active.length; at++) {
      const active = must(this.#active[at], 'within the rules');
      const { rule } = active;
      if (active.left === 0 || rule.operation !== operation) continue;
      if (rule.isLaterOnly === true && !isLater) continue;
      if (rule.role !== undefined && rule.role !== role) continue;
      if (rule.path !== undefined && !path.startsWith(rule.path)) continue;
      active.matched++;
      if (active.matched < (rule.nth ?? 1)) continue;
      if (rule.probability !== undefined && !this.#random.chance(rule.probability)) continue;
      active.left--;
      struck ??= [];
      struck.push(rule);
    }
    return struck ?? noRules;
  }
}
