import type { Group } from '../../src/group/order/group.ts';
import type { CrashKind } from './crash-kind.ts';
import type { Excuses } from './excuses.ts';
import type { FaultCounter } from './faults.ts';
import type { GroupModel } from './group-model.ts';
import type { JournalTap } from './journal-tap.ts';

/**
 * What has to be there after the next start, and whether it is: at least what was promised, nothing
 * that was never written, damage where there is some and nowhere else.
 */
export class RestartCheck {
  readonly #tap: JournalTap;
  readonly #counter: FaultCounter;
  readonly #excuses: Excuses;
  readonly #report: (text: string) => void;
  readonly #note: (text: string) => void;
  /** By group id. */
  readonly #mustHave = new Map<string, number>();
  readonly #durableSeen = new Map<string, number>();
  readonly #failedJournals = new Set<string>();
  /** Groups that this life found, and could not use. */
  readonly #unrecovered = new Set<string>();
  /** Groups that are there for sure. */
  readonly groupNames = new Set<string>();

  constructor(
    parts: {
      readonly tap: JournalTap;
      readonly counter: FaultCounter;
      readonly excuses: Excuses;
      readonly note: (text: string) => void;
    },
    report: (text: string) => void,
  ) {
    this.#tap = parts.tap;
    this.#counter = parts.counter;
    this.#excuses = parts.excuses;
    this.#note = parts.note;
    this.#report = report;
  }

  /** Up to this the records of a group that is being recovered must be there. */
  mustHave(groupId: string): number {
    return this.#mustHave.get(groupId) ?? 0;
  }

  isUsable({ groupId }: GroupModel): boolean {
    return !this.#failedJournals.has(groupId) && !this.#unrecovered.has(groupId);
  }

  /** After every event: what can be promised now. */
  look(group: Group, model: GroupModel): void {
    model.name = group.name;
    if (this.#unrecovered.has(model.groupId)) return;
    if (group.state === 'normal' || this.#failedJournals.has(model.groupId)) {
      this.#durableSeen.set(model.groupId, group.watermarks.durable);
    }
    if (group.conditions.has(group.name, 'journal_failed') && group.state !== 'normal') {
      if (!this.#failedJournals.has(model.groupId)) {
        for (const entry of this.#tap.ledger.unrecorded(model.groupId)) model.ghosts.push(entry);
      }
      this.#failedJournals.add(model.groupId);
    }
  }

  ended(kind: CrashKind): void {
    for (const model of this.#tap.models.values()) {
      const durable = this.#durableSeen.get(model.groupId) ?? 0;
      const isFailed = this.#failedJournals.has(model.groupId);
      const lowest =
        kind !== 'power' && !isFailed ? model.newestWhole : Math.max(model.promised, durable);
      // A start that did not recover the group promised nothing more, nor less.
      const before = this.#mustHave.get(model.groupId) ?? Number.POSITIVE_INFINITY;
      this.#mustHave.set(model.groupId, Math.min(before, lowest));
    }
    this.#unrecovered.clear();
  }

  /** Of what was to be there after the next start, only what was durable: the device may have no more. */
  expectDurableOnly(): void {
    for (const model of this.#tap.models.values()) {
      const durable = Math.max(model.promised, this.#durableSeen.get(model.groupId) ?? 0);
      const before = this.#mustHave.get(model.groupId) ?? durable;
      this.#mustHave.set(model.groupId, Math.min(before, durable));
    }
  }

  check(groups: ReadonlyMap<string, Group>): void {
    const byId = new Map([...groups.values()].map((group) => [group.catalog.groupId, group]));
    for (const model of this.#tap.models.values()) {
      const group = byId.get(model.groupId);
      if (group) this.#checkGroup(group, model);
      else {
        if (this.groupNames.has(model.name)) this.#report(`group ${model.name} is gone`);
        this.#tap.models.delete(model.groupId);
      }
    }
  }

  #checkGroup(group: Group, model: GroupModel): void {
    model.isForgotten = false;
    const expected = this.#excuses.damage.get(model.name);
    const isFull = group.conditions.has(group.name, 'journal_full');
    if (isFull && this.#excuses.has('stall')) {
      this.#note(`group ${group.name} is full at ${group.watermarks.durable}`);
      this.#counter.count('group opened full');
    } else if (group.state === 'abnormal' || typeof expected === 'number') {
      this.#unrecovered.add(model.groupId);
      this.#checkDamage(group, expected);
      return;
    }
    this.#checkNumbers(group, model);
  }

  #checkNumbers(group: Group, model: GroupModel): void {
    const mustHave = this.mustHave(model.groupId);
    const { durable } = group.watermarks;
    this.#note(`group ${group.name}: recovered ${durable}, of ${mustHave} to ${model.newest}`);
    if (durable < mustHave) {
      this.#report(
        `group ${group.name}: update ${mustHave} was promised, but after the restart the last one is ${durable}`,
      );
      return;
    }
    if (durable > model.newest) {
      this.#report(
        `group ${group.name}: after the restart the last update is ${durable}, but only ${model.newest} were ever written`,
      );
      return;
    }
    // What is done in the background may have numbered something before it is looked at here.
    const isSince = durable >= model.newestAtEnd && model.newest > model.newestAtEnd;
    model.rollBack(isSince ? model.newest : durable);
    this.#mustHave.delete(model.groupId);
    this.#failedJournals.delete(model.groupId);
    this.#durableSeen.set(model.groupId, durable);
    this.#checkCatalog(group, model);
  }

  #checkDamage(group: Group, expected: number | 'maybe' | undefined): void {
    if (group.state === 'abnormal' && (expected === 'maybe' || this.#excuses.has('disk'))) {
      this.#note(`group ${group.name} is abnormal, as may be: ${group.failureText}`);
      return;
    }
    if (expected === undefined) {
      this.#report(
        `group ${group.name} is abnormal, and nothing was damaged: ${group.failureText}`,
      );
      return;
    }
    if (group.state !== 'abnormal') {
      this.#report(
        `group ${group.name}: update ${expected} was durable and is damaged, but the group is ${group.state} at ${group.watermarks.durable}`,
      );
      return;
    }
    this.#counter.count('group found damaged');
    const named = /updates? (\d+)(?: to \d+)? (?:was|were) durable/.exec(group.failureText);
    if (!named || Number(named[1]) !== expected) {
      this.#report(
        `group ${group.name}: update ${expected} is damaged, and the group says: ${group.failureText}`,
      );
    }
  }

  #checkCatalog(group: Group, model: GroupModel): void {
    const expected = JSON.stringify(
      [...model.current.volumes.values()].map(({ catalog }) => catalog),
    );
    const found = JSON.stringify(group.catalog.volumes);
    if (expected !== found) {
      this.#report(`group ${group.name}: the volumes are ${found}, but should be ${expected}`);
    }
    const snapshots = JSON.stringify(model.current.snapshots.list);
    const foundSnapshots = JSON.stringify(group.snapshots.list);
    if (snapshots !== foundSnapshots) {
      this.#report(
        `group ${group.name}: the snapshots are ${foundSnapshots}, but should be ${snapshots}`,
      );
    }
    if (this.#excuses.has('disk') || this.#excuses.has('volume')) return;
    for (const { catalog, state, failure } of group.volumes.values()) {
      if (state === catalog.state) continue;
      this.#report(
        `volume ${group.name}/${catalog.name} is ${state} after the restart: ${failure}`,
      );
    }
  }
}
