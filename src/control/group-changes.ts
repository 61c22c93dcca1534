import type { Group } from '../group/order/group.ts';
import { generationOf } from '../group/catalog/lineage.ts';
import type { Clock } from '../platform/clock.ts';
import type { HookNotice, HookSubject } from './hooks.ts';

/** A group as hooks are told of it. */
export function hookSubject(group: Group): HookSubject {
  return {
    group: group.name,
    role: group.role,
    state: group.state,
    generation: generationOf(group.catalog.lineage),
    number: group.watermarks.durable,
  };
}

/** Tells what groups have become since they were looked at last. */
export class GroupChanges {
  readonly #read: () => readonly HookSubject[];
  readonly #tell: (notice: HookNotice, subject: HookSubject) => void;
  readonly #clock: Clock;
  readonly #isAway: (group: string) => boolean;
  #known: ReadonlyMap<string, HookSubject> = new Map();
  #isDue = false;

  /** `read` gives all groups that there are; `isAway` says that one comes again. */
  constructor(
    read: () => readonly HookSubject[],
    tell: (notice: HookNotice, subject: HookSubject) => void,
    clock: Clock,
    isAway: (group: string) => boolean = () => false,
  ) {
    this.#read = read;
    this.#tell = tell;
    this.#clock = clock;
    this.#isAway = isAway;
  }

  /** Something happened: after it, groups are looked at, once for all that happens with it. */
  consider(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    this.#clock.soon(() => {
      this.#isDue = false;
      this.#look();
    });
  }

  #look(): void {
    const known = this.#known;
    const subjects = this.#read();
    const away = [...known.values()].filter(({ group }) => this.#isAway(group));
    this.#known = new Map([...away, ...subjects].map((subject) => [subject.group, subject]));
    for (const subject of subjects) {
      const before = known.get(subject.group);
      if (before?.role === subject.role && before.state === subject.state) continue;
      const previous = before ? { role: before.role, state: before.state } : undefined;
      for (const notice of noticesOf(before?.role, subject.role)) {
        this.#tell(notice, previous ? { ...subject, previous } : subject);
      }
    }
  }
}

/** What a change is as an event: its code, and a sentence. */
export function changeEvent(subject: HookSubject): {
  readonly code: string;
  readonly message: string;
} {
  const { group, role, state, previous } = subject;
  const now = `${role}, ${state}`;
  if (!previous) return { code: 'group_opened', message: `group ${group} is here: ${now}` };
  const before = `${previous.role}, ${previous.state}`;
  const code = previous.role === role ? 'group_state_changed' : 'group_role_changed';
  return { code, message: `group ${group} is ${now}; it was ${before}` };
}

function noticesOf(before: string | undefined, now: string): HookNotice[] {
  if (before === undefined || before === now) return ['state-changed'];
  if (now === 'primary') return ['after-promote', 'state-changed'];
  return before === 'primary' ? ['after-demote', 'state-changed'] : ['state-changed'];
}
