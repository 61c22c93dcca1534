import type { Catalog, CatalogVolume } from '../../../src/group/catalog/catalog.ts';
import type { ExportClient, ExportSession } from '../../../src/group/apply/export.ts';
import type { Group } from '../../../src/group/order/group.ts';
import {
  agreesAt,
  type Lineage,
  positionOf,
  stretchOf,
} from '../../../src/group/catalog/lineage.ts';
import type { GroupRole } from '../../../src/group/catalog/states.ts';
import type { Follower } from '../../../src/replicator/follower/follower.ts';
import type { FleetSystem } from '../../replicator/fleet.ts';
import type { CrashKind } from '../crash-kind.ts';
import { FleetHost } from './fleet-host.ts';
import { type FleetHistory, HistoryImage, type VolumeShape } from './fleet-history.ts';
import type { SimulatedRandom } from '../simulated-random.ts';

/** The one group there is. */
export const groupName = 'g';

/** How far a member was when it was looked at last. */
export interface Place {
  readonly groupId: string;
  readonly role: GroupRole;
  readonly lineage: Lineage;
  readonly durable: number;
  readonly newest: number;
  /** Whom it follows. */
  readonly sourceSystemId: number | undefined;
}

/** One system of the fleet, life after life, and what has to be there after the next start. */
export class FleetMember {
  readonly system: FleetSystem;
  readonly isJournalOnly: boolean;
  readonly hosts: FleetHost[] = [];
  readonly image: HistoryImage;
  readonly #history: FleetHistory;
  readonly #random: SimulatedRandom;
  readonly #report: (text: string) => void;
  readonly #isSomebodyStarting: () => boolean;
  #systemId: number | undefined;
  #catalog: Catalog | undefined;
  /** Of that one. */
  #shapes: readonly VolumeShape[] = [];
  /** Of the last look; undefined: it had no group. */
  #place: Place | undefined;
  /** What the next start has to bring back. */
  #owed: { readonly place: Place; readonly number: number } | undefined;
  /** What was durable when it was compared with its source last. */
  #comparedAt: number | undefined;
  #isAlive = false;
  #isStarting = false;
  /** In this life: what was numbered and not durable then is nowhere. */
  #hasFailedJournal = false;
  /** Its group was being made or deleted when it died: it is there, or not. */
  isUndecided = false;

  constructor(
    system: FleetSystem,
    parts: {
      readonly history: FleetHistory;
      readonly random: SimulatedRandom;
      readonly isJournalOnly: boolean;
      readonly report: (text: string) => void;
      /** Somebody is about to serve, and may be read from before it is looked at. */
      readonly isSomebodyStarting: () => boolean;
    },
  ) {
    this.system = system;
    this.isJournalOnly = parts.isJournalOnly;
    this.#history = parts.history;
    this.#random = parts.random;
    this.#report = (text) => parts.report(`${system.host}: ${text}`);
    this.#isSomebodyStarting = parts.isSomebodyStarting;
    this.image = new HistoryImage(parts.history);
  }

  get name(): string {
    return this.system.host;
  }
  get isAlive(): boolean {
    return this.#isAlive;
  }
  /** As it was looked at last, as long as it has the group. */
  get place(): Place | undefined {
    return this.#place;
  }
  /** The last number known to be durable there, as long as it has the group. */
  get durable(): number | undefined {
    return this.#place?.durable;
  }
  /** Its source keeps what is behind the comparison, and nothing of what it is to replace. */
  get isCompared(): boolean {
    return this.#comparedAt !== undefined && this.#comparedAt === this.#place?.durable;
  }
  get sourceSystemId(): number | undefined {
    return this.#place?.sourceSystemId;
  }
  /** Undefined: it never served. */
  get systemId(): number | undefined {
    return this.#systemId;
  }
  get lastRole(): GroupRole | undefined {
    return this.#place?.role;
  }

  get isServing(): boolean {
    return this.#isAlive && this.system.daemon.isServing;
  }

  get group(): Group | undefined {
    return this.isServing ? this.system.system.groups.get(groupName) : undefined;
  }

  /** Its journal begins anew: it is the same group when it is there again. */
  get isRestarting(): boolean {
    return this.isServing && this.system.system.isRestarting(groupName);
  }

  get follower(): Follower | undefined {
    const { group } = this;
    return group && this.system.daemon.composed.followed.find(group);
  }

  launched(): void {
    this.#isAlive = true;
    this.#isStarting = true;
    this.#hasFailedJournal = false;
  }

  /** It is gone, or was found dead; what it must have then is decided by how. */
  ended(kind: CrashKind): void {
    if (!this.#isAlive) return;
    this.#isAlive = false;
    this.hosts.length = 0;
    const place = this.#place;
    if (!place) return;
    const isAllThere = kind !== 'power' && !this.#hasFailedJournal;
    const number = isAllThere ? place.newest : place.durable;
    // A start that did not get so far owes what was owed before.
    const before = this.#owed;
    this.#owed = {
      place,
      number: before && before.place === place ? Math.min(before.number, number) : number,
    };
  }

  /** The power went while it was dead already: what a process left in the page cache is gone too. */
  lostPower(): void {
    const owed = this.#owed;
    if (owed) this.#owed = { ...owed, number: Math.min(owed.number, owed.place.durable) };
  }

  /** The group was deleted by command, or is a new one. */
  forget(): void {
    this.#place = undefined;
    this.#owed = undefined;
  }

  #checkStart(): void {
    const owed = this.#owed;
    this.#owed = undefined;
    const { group } = this;
    const wasUndecided = this.isUndecided;
    this.isUndecided = false;
    if (!group) {
      if (owed && !wasUndecided) this.#report('the group is gone');
      this.#place = undefined;
      return;
    }
    // Its journal may have been begun anew.
    if (!owed || wasUndecided || owed.place.groupId !== group.catalog.groupId) return;
    if (group.state === 'abnormal') {
      this.#report(`the group is abnormal: ${group.failureText}`);
      return;
    }
    const { newest } = group.watermarks;
    const { place } = owed;
    const number = this.#promised(owed);
    if (newest < number) {
      this.#report(`update ${number} was promised, and after the restart there are ${newest}`);
    }
    if (!agreesAt(group.catalog.lineage, positionOf(place.lineage, Math.min(number, newest)))) {
      this.#report(`after the restart update ${number} is another one`);
    }
  }

  /** Of what came ahead of its source's sync, and was lost there, nothing. */
  #promised({ place, number }: { readonly place: Place; readonly number: number }): number {
    const stretch = stretchOf(place.lineage, number);
    if (place.role === 'primary' || !stretch || stretch.system === this.#systemId) return number;
    return Math.min(number, Math.max(this.#history.durableOf(stretch), stretch.firstNumber - 1));
  }

  /** After every event: what is true at every moment. */
  look(): void {
    if (!this.isServing) return;
    if (this.#isStarting) {
      this.#isStarting = false;
      this.#systemId = this.system.system.systemId;
      this.#checkStart();
    }
    const { group } = this;
    if (!group) return;
    this.#lookAtChecksums(group);
    this.#hasFailedJournal ||= group.state === 'abnormal' && group.journal.state === 'failed';
    const { catalog, watermarks } = group;
    const { released, applied, durable, newest } = watermarks;
    if (this.system.daemon.composed.followed.comparisons.find(group)) this.#comparedAt = durable;
    const place = this.#place;
    const { groupId, lineage } = catalog;
    const sourceSystemId = group.follow.state?.sourceSystemId;
    if (
      place?.groupId === groupId &&
      place.lineage === lineage &&
      place.durable === durable &&
      place.newest === newest &&
      this.#catalog === catalog &&
      place.role === group.role &&
      place.sourceSystemId === sourceSystemId
    ) {
      return;
    }
    // Until a journal was opened nothing of it is known.
    if (group.state === 'recovering') return;
    if (released > applied || applied > durable || durable > newest) {
      this.#report(`watermarks are ${released}, ${applied}, ${durable}, ${newest}`);
    }
    this.#place = { groupId, role: group.role, lineage, durable, newest, sourceSystemId };
    this.#seeCatalog(group);
    const stretch = stretchOf(lineage, durable);
    // Also a primary that has just handed over.
    if (lineage.at(-1)?.system !== this.#systemId) this.#lookAtReceived(group);
    else if (stretch) this.#history.noteDurable(stretch, durable);
  }

  /** Nothing but a mistake makes volumes differ here: there is no alarm, ever (SAFETY 31). */
  #lookAtChecksums({ conditions }: Group): void {
    if (!conditions.has(groupName, 'checksum_differs')) return;
    const found = conditions.list().find(({ code }) => code === 'checksum_differs');
    this.#report(`${found?.message}`);
  }

  /** Elsewhere the same change made the same volumes. */
  #seeCatalog({ catalog, watermarks }: Group): void {
    if (catalog === this.#catalog || catalog.number > watermarks.newest) return;
    this.#catalog = catalog;
    const shapes = catalog.volumes.map((volume) => this.#shapeOf(volume));
    this.#shapes = shapes;
    const { lineage, number, volumes } = catalog;
    const isPlanned = volumes.some(({ rollback }) => rollback && rollback.number === undefined);
    const wrong = this.#history.catalog(lineage, number, shapes, isPlanned);
    if (wrong !== undefined) this.#report(wrong);
  }

  /** A promotion has where volumes go back to in the catalog before it is numbered, and nobody else knows of it. */
  #shapeOf({ id, name, sizeBytes, rollback }: CatalogVolume): VolumeShape {
    const isNumbered = rollback?.number !== undefined;
    const before = this.#shapes.find((each) => each.id === id)?.rollback;
    const shown = rollback && !isNumbered ? before : rollback;
    const shape = { id, name, sizeBytes };
    return shown ? { ...shape, rollback: { plan: shown.plan, to: shown.to } } : shape;
  }

  /** What came ahead is held until the source has it (SAFETY 22). */
  #lookAtReceived({ catalog, replies, watermarks: { newest, applied } }: Group): void {
    const last = catalog.lineage.at(-1);
    if (!last || newest < last.firstNumber) return;
    const durable = this.#history.durableOf(last);
    const taken = Math.max(applied, Math.min(newest, replies.gate.confirmed));
    if (taken > durable && !this.#isSomebodyStarting()) {
      this.#report(
        `update ${taken} of ${newest} received counts, and only ${durable} were durable`,
      );
    }
  }

  open(volume: string): FleetHost | undefined {
    const { group } = this;
    if (!group || group.role !== 'primary' || group.state !== 'normal') return undefined;
    const { state, rollsBackTo } = group.volumes.get(volume) ?? {};
    if (state !== 'normal' || rollsBackTo !== undefined) return undefined;
    const random = this.#random.fork(`host ${this.#random.next()}`);
    const parts = { group, history: this.#history, random };
    const host = new FleetHost(parts, volume, (client) => this.#session(volume, client));
    this.hosts.push(host);
    return host;
  }

  #session(volume: string, client: ExportClient): ExportSession {
    const found = this.system.daemon.composed.exports.find(`${groupName}/${volume}`);
    if (!found) throw new Error(`${this.name} has no export ${volume}`);
    return found.open(client);
  }

  /** Opens for reading; undefined: it is not exported. */
  reader(volume: string, client: ExportClient): ExportSession | undefined {
    return this.system.daemon.composed.exports.find(`${groupName}/${volume}`)?.open(client);
  }

  dropHosts(): void {
    for (const host of this.hosts.splice(0)) if (this.#isAlive) host.close();
  }
}
