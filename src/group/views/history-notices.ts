import type { Base } from '../../history/bases.ts';
import type { SegmentChain } from '../../journal/segment-chain.ts';
import type { Watermarks } from '../../journal/watermarks.ts';
import type { Clock } from '../../platform/clock.ts';
import { formatExactDuration } from '../../platform/duration-text.ts';
import { segmentBytes } from '../../platform/limits.ts';
import { formatSize } from '../../platform/size-text.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { Conditions } from '../catalog/conditions.ts';
import { historySegmentsMax, segmentsSince } from './journal-share.ts';

interface TellingGroup {
  readonly name: string;
  readonly catalog: Catalog;
  readonly clock: Clock;
  readonly chain: SegmentChain;
  readonly watermarks: Watermarks;
  readonly conditions: Conditions;
}

type Event = (code: string, message: string, fields: Record<string, unknown>) => void;

/** Before a forecast is worth anything. */
const forecastMilliseconds = 10 * 60_000;
/** Bases begin some time apart. */
const tolerance = 0.95;

/** What people are told of the window: that it is shorter than promised, or will be, or cannot be kept. */
export class HistoryNotices {
  readonly #group: TellingGroup;
  readonly #event: Event;
  /** What the promised time would have kept was let go, and why. */
  #shortened = '';

  constructor(group: TellingGroup, event: Event) {
    this.#group = group;
    this.#event = event;
  }

  shortened(why: string): void {
    if (this.#shortened === why) return;
    this.#shortened = why;
    const { name } = this.#group;
    this.#event(
      'history_shortened',
      `the oldest part of the history of group ${name} goes: ${why}`,
      {
        group: name,
      },
    );
  }

  failed(why: string): void {
    const { name, conditions } = this.#group;
    conditions.raise(name, {
      code: 'history_failed',
      severity: 'error',
      message: `what is overwritten in group ${name} cannot be saved: ${why}; its history begins again when that works`,
      nextCommand: `jnbd group show ${name}`,
    });
  }

  works(): void {
    const { name, conditions } = this.#group;
    conditions.clear(name, 'history_failed', `the history of group ${name} begins again`);
  }

  notRemoved(why: string): void {
    const { name } = this.#group;
    const text = `history of group ${name} that nobody needs could not be removed, and takes space until the next start: ${why}`;
    this.#event('history_not_removed', text, { group: name });
  }

  /** Whether the promise is kept. */
  look(bases: readonly Base[]): void {
    const { catalog, name, conditions } = this.#group;
    const { history } = catalog;
    const [oldest] = bases;
    if (history === undefined)
      conditions.clear(name, 'history_failed', `group ${name} promises no history`);
    if (history?.kind !== 'time' || !oldest) {
      this.#shortened = history === undefined ? '' : this.#shortened;
      conditions.clear(name, 'history_short', `group ${name} promises no time`);
      return;
    }
    const { milliseconds } = history;
    const age = this.#group.clock.wallMilliseconds() - oldest.atMilliseconds;
    const promised = `${formatExactDuration(milliseconds)} are promised`;
    const possible = this.#possibleMilliseconds(oldest, age);
    if (age >= milliseconds * tolerance) {
      this.#shortened = '';
    } else if (this.#shortened !== '') {
      this.#raise(`begins ${roughly(age)} ago, and ${promised}: ${this.#shortened}`);
      return;
    }
    if (possible < milliseconds * tolerance) {
      const room = formatSize(historySegmentsMax(this.#group.chain) * segmentBytes);
      this.#raise(
        `will reach back ${roughly(possible)} only, and ${promised}: the journal has ${room} for it, and hosts write so much`,
      );
      return;
    }
    conditions.clear(name, 'history_short', `the history of group ${name} is as long as promised`);
  }

  #raise(what: string): void {
    const { name, conditions } = this.#group;
    conditions.raise(name, {
      code: 'history_short',
      severity: 'warning',
      message: `the history of group ${name} ${what}`,
      nextCommand: `jnbd group show ${name}`,
    });
  }

  /** How far back the journal can reach if hosts go on writing as they did. */
  #possibleMilliseconds({ number }: Base, age: number): number {
    if (age < forecastMilliseconds) return Number.POSITIVE_INFINITY;
    const { chain, watermarks } = this.#group;
    const segments = segmentsSince(chain, number, watermarks.newest);
    return segments <= 1 ? Number.POSITIVE_INFINITY : (historySegmentsMax(chain) * age) / segments;
  }
}

function roughly(milliseconds: number): string {
  const minutes = Math.max(0, Math.floor(milliseconds / 60_000));
  if (minutes < 2) return `${Math.floor(milliseconds / 1000)}s`;
  return minutes < 120 ? `${minutes}m` : `${Math.floor(minutes / 60)}h`;
}
