import type { Area } from '../../journal/area.ts';
import { Forecast } from '../../journal/forecast.ts';
import type { Journal } from '../../journal/journal.ts';
import type { SegmentChain } from '../../journal/segment-chain.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import { MiB } from '../../platform/limits.ts';
import type { Conditions } from '../catalog/conditions.ts';

const tickMilliseconds = 1000;
/** A sync that takes longer makes its area `slow` where there is another one. */
const areaSlowMilliseconds = 1500;
const slowAreaRestMilliseconds = 30_000;

/** Looks once a second how a group's journal does: filling, slow areas. */
export class JournalWatch {
  readonly #clock: Clock;
  readonly #conditions: Conditions;
  readonly #groupName: string;
  readonly #areas: readonly Area[];
  readonly #chain: SegmentChain;
  readonly #forecast = new Forecast();
  #timer: Timer | undefined;

  constructor(
    clock: Clock,
    group: {
      readonly conditions: Conditions;
      readonly name: string;
      readonly areas: readonly Area[];
      readonly chain: SegmentChain;
    },
  ) {
    this.#clock = clock;
    this.#conditions = group.conditions;
    this.#groupName = group.name;
    this.#areas = group.areas;
    this.#chain = group.chain;
  }

  minutesToFull(): number | null {
    return this.#forecast.minutesToFull(this.#chain.capacityBytes);
  }

  /** `isFull`: hosts are refused for want of room. */
  start(journal: Journal, isFull: () => boolean): void {
    this.#forecast.sample(this.#clock.monotonicMilliseconds(), this.#chain.usedBytes);
    const slow = journal.slowArea(areaSlowMilliseconds);
    const isBetter = ({ role, state }: Area): boolean => role === 'journal' && state === 'healthy';
    if (slow && this.#areas.some((area) => area !== slow && isBetter(area))) {
      journal.leaveSlowArea(
        slow,
        `journal directory ${slow.path}: a sync takes over ${areaSlowMilliseconds} ms`,
      );
    }
    if (isFull()) {
      this.#conditions.raise(this.#groupName, {
        code: 'journal_full',
        severity: 'error',
        message: `the journal of group ${this.#groupName} is full, and what it holds is still needed: hosts get ENOSPC`,
        nextCommand: `jnbd group show ${this.#groupName}`,
      });
    } else {
      this.#conditions.clear(
        this.#groupName,
        'journal_full',
        `the journal of group ${this.#groupName} has room: hosts' writes succeed`,
      );
    }
    this.#lookForEmergency();
    this.#timer = this.#clock.after(tickMilliseconds, () => this.start(journal, isFull));
  }

  stop(): void {
    this.#timer?.cancel();
  }

  failed(message: string): void {
    const nextCommand = `jnbd group show ${this.#groupName}`;
    const code = 'journal_failed';
    this.#conditions.raise(this.#groupName, { code, severity: 'error', message, nextCommand });
  }

  /** Hosts go on, with little room: somebody should mend the journal's disk, and start the daemon again. */
  #lookForEmergency(): void {
    if (!this.#chain.isInEmergency) return;
    const paths = this.#areas.filter(({ role }) => role === 'emergency').map(({ path }) => path);
    if (paths.length === 0) return;
    this.#conditions.raise(this.#groupName, {
      code: 'journal_in_emergency_area',
      severity: 'error',
      message: `no journal directory of group ${this.#groupName} can be written; it goes on in ${paths.join(', ')}, which has ${this.#chain.capacityBytes / MiB} MiB, and hosts may be slowed; mend the directory, then start the daemon again`,
      nextCommand: `jnbd group show ${this.#groupName}`,
    });
  }

  areaChanged(area: Area): void {
    if (area.state === 'healthy') {
      this.#conditions.clear(
        area.path,
        'area_slow',
        `journal directory ${area.path} is used again, after ${slowAreaRestMilliseconds / 1000} s`,
      );
      return;
    }
    this.#conditions.raise(area.path, {
      code: area.state === 'slow' ? 'area_slow' : 'area_failed',
      severity: area.state === 'slow' ? 'warning' : 'error',
      message: `${area.failure}; the journal of group ${this.#groupName} goes on elsewhere where it can`,
      nextCommand: `jnbd group show ${this.#groupName}`,
    });
    if (area.state !== 'slow') return;
    this.#clock.after(slowAreaRestMilliseconds, () => {
      if (area.state !== 'slow') return;
      area.become('healthy', '');
      this.areaChanged(area);
    });
  }
}
