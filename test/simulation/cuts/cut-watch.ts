import type { KnownMarker } from '../../../src/group/cuts/cut-records.ts';
import { must } from '../../../src/platform/assert.ts';
import { type KeptHold, markerIdOf } from '../../../src/replicator/cuts/cut-file.ts';
import { formatMarkerId, isAtLeast, newerOf } from '../../../src/replicator/cuts/marker-order.ts';
import type { CutMarkerId } from '../../../src/replicator/protocol/wire-cuts.ts';
import type { SimulatedClock } from '../simulated-clock.ts';
import type { FaultCounter } from '../faults.ts';
import type { CutLedger } from './cut-ledger.ts';
import type { CutNode, CutPair } from './cut-system.ts';

/** Of the newest markers of a journal: whether they were committed meanwhile. */
const lookedAtAgain = 20;
const sampleMilliseconds = 10;
/** A controller goes on with a target at once, or another time. */
const anotherTimeMilliseconds = 240;

/** A marker, wherever it was seen. */
interface SeenMarker {
  readonly id: string;
  /** By system; 0: not seen there yet. */
  readonly numbers: number[];
  isCommitted: boolean;
}

/** What was seen of one system. */
interface SeenNode {
  newest: KnownMarker | undefined;
  /** The highest of a marker that it took as primary. */
  epoch: bigint;
  hold: KeptHold | undefined;
  /** Its contents were brought in pieces: until it is held again it may apply what it gets. */
  isIncomplete: boolean;
  controls: boolean;
  aborted: number;
}

/** Looks at journals, volumes and what was promised, of all systems, and asks nobody: what has to hold of them. */
export class CutWatch {
  readonly #pairs: readonly CutPair[];
  readonly #clock: SimulatedClock;
  readonly #counter: FaultCounter;
  readonly #ledger: CutLedger;
  readonly #fail: (text: string) => never;
  readonly #seen = new Map<CutNode, SeenNode>();
  readonly #markers = new Map<string, SeenMarker>();
  /** The newest target that somebody promised, and when; undefined: all did, or it was seen that not all do. */
  #begun: { readonly target: CutMarkerId; readonly at: number } | undefined;
  /** Seen now, and where: all journals are looked at before what is committed in one is checked. */
  readonly #commits: [SeenMarker, string][] = [];
  #cutId = '';
  #sampledAt = 0;
  #controller: CutNode | undefined;
  #markedAt = 0;
  committed = 0;

  constructor(parts: {
    readonly pairs: readonly CutPair[];
    readonly clock: SimulatedClock;
    readonly counter: FaultCounter;
    readonly ledger: CutLedger;
    readonly fail: (text: string) => never;
  }) {
    this.#pairs = parts.pairs;
    this.#clock = parts.clock;
    this.#counter = parts.counter;
    this.#ledger = parts.ledger;
    this.#fail = parts.fail;
  }

  /** Who made markers last. */
  get controller(): CutNode | undefined {
    return this.#controller;
  }

  /** Nobody has tried to make a marker for so long. */
  isQuietFor(milliseconds: number): boolean {
    return this.#clock.monotonicMilliseconds() - this.#markedAt > milliseconds;
  }

  /** Which marker each secondary applies towards. */
  targets(): readonly string[] {
    return this.#pairs.map(({ secondary }) => idOf(secondary.promises?.holds[0]?.released ?? null));
  }

  /** Somebody promised a target that this one does not have yet; undefined: all have the newest. */
  get leftOut(): CutNode | undefined {
    const { target } = this.#begun ?? {};
    if (!target) return undefined;
    const lacks = this.#pairs.find(({ secondary }) => !hasTarget(secondary, target));
    return lacks?.secondary;
  }

  /** After every event. */
  look(): void {
    const now = this.#clock.monotonicMilliseconds();
    const isDue = now - this.#sampledAt >= sampleMilliseconds;
    if (isDue) this.#sampledAt = now;
    for (const [at, { primary, secondary }] of this.#pairs.entries()) {
      this.#lookAtJournal(primary, at, isDue);
      this.#lookAtJournal(secondary, at, isDue);
      if (isDue) this.#sample(primary);
    }
    if (isDue) {
      this.#lookAtControllers();
      this.#lookAtBegun(now);
    }
    for (const [marker, name] of this.#commits.splice(0)) {
      this.#check(marker, `which is committed at ${name}`);
    }
    for (const at of this.#pairs.keys()) this.#lookAtHold(at);
    for (const { secondary } of this.#pairs) this.#lookAtApplied(secondary);
  }

  /** It is about to die: what is known of it alone is not seen later. */
  dies(node: CutNode): void {
    this.#sampledAt = 0;
    this.look();
    this.#of(node).controls = false;
    this.#of(node).aborted = 0;
  }

  #of(node: CutNode): SeenNode {
    const known = this.#seen.get(node);
    if (known) return known;
    const seen: SeenNode = {
      newest: undefined,
      epoch: 0n,
      hold: undefined,
      isIncomplete: false,
      controls: false,
      aborted: 0,
    };
    this.#seen.set(node, seen);
    return seen;
  }

  // --- markers

  #lookAtJournal(node: CutNode, at: number, isDue: boolean): void {
    const { group, promises } = node;
    if (promises) this.#cutId = promises.definition.cutId;
    if (!group) return;
    const seen = this.#of(node);
    const { records } = group.cuts;
    const newest = records.newest(this.#cutId);
    if (newest === seen.newest && !isDue) return;
    seen.newest = newest;
    const listed = records.list(this.#cutId, Number.POSITIVE_INFINITY).slice(-lookedAtAgain);
    for (const marker of listed) this.#saw(node, at, marker);
    if (node !== this.#pairs[at]?.primary) return;
    if (newest && newest.epoch > seen.epoch) seen.epoch = newest.epoch;
    // What was promised is not forgotten (SAFETY 26).
    const promised = BigInt(promises?.promised ?? 0);
    if (promises && promised < seen.epoch) {
      this.#fail(`${node.name} has a marker of epoch ${seen.epoch}, and promised ${promised}`);
    }
  }

  #saw(node: CutNode, at: number, marker: KnownMarker): void {
    const id = formatMarkerId(marker);
    const known = this.#markers.get(id) ?? {
      id,
      numbers: this.#pairs.map(() => 0),
      isCommitted: false,
    };
    if (!this.#markers.has(id)) {
      this.#markers.set(id, known);
      this.#markedAt = this.#clock.monotonicMilliseconds();
    }
    const { number, committedAt } = marker;
    const before = known.numbers[at] ?? 0;
    if (before !== 0 && before !== number) {
      this.#fail(`marker ${id} is update ${before} of system ${at}, and ${number} at ${node.name}`);
    }
    known.numbers[at] = number;
    if (committedAt === undefined || known.isCommitted) return;
    known.isCommitted = true;
    this.committed += 1;
    this.#counter.count('round committed');
    this.#commits.push([known, node.name]);
  }

  /** Somebody has its commit: it may be selected. */
  #check({ id, numbers }: SeenMarker, why: string): void {
    const missing = numbers.indexOf(0);
    if (missing >= 0) this.#fail(`marker ${id}, ${why}, was never at system ${missing}`);
    const wrong = this.#ledger.inconsistency(numbers);
    if (wrong !== undefined) this.#fail(`marker ${id}, ${why}: ${wrong}`);
  }

  // --- controllers

  #sample(node: CutNode): void {
    const { cut } = node;
    if (!cut) return;
    const seen = this.#of(node);
    seen.controls = cut.isController;
    const { aborted } = cut.rounds;
    if (aborted > seen.aborted) this.#counter.count('round aborted', aborted - seen.aborted);
    seen.aborted = aborted;
  }

  #lookAtControllers(): void {
    const controlling = this.#pairs.filter(({ primary }) => this.#of(primary).controls);
    if (controlling.length > 1) this.#counter.count('controllers at once');
    const [first] = controlling;
    if (!first || controlling.some(({ primary }) => primary === this.#controller)) return;
    if (this.#controller) this.#counter.count('controller changed');
    this.#controller = first.primary;
  }

  // --- targets

  #lookAtHold(at: number): void {
    const { secondary } = must(this.#pairs[at], 'a pair');
    const hold = secondary.promises?.holds[0];
    const seen = this.#of(secondary);
    const before = seen.hold;
    if (!hold || hold === before) return;
    seen.hold = hold;
    const { heldAt, released, next } = hold;
    if (idOf(next) !== idOf(before?.next ?? null)) this.#prepared(markerIdOf(next));
    if (released && idOf(released) !== idOf(before?.released ?? null)) this.#released(at, hold);
    if (before && heldAt !== before.heldAt && heldAt !== released?.number && !seen.isIncomplete) {
      this.#fail(`${secondary.name} is held at ${heldAt}, where no target is`);
    }
    if (heldAt !== before?.heldAt) seen.isIncomplete = false;
  }

  #prepared(target: CutMarkerId | null): void {
    if (!target || (this.#begun && isAtLeast(this.#begun.target, target))) return;
    this.#begun = { target, at: this.#clock.monotonicMilliseconds() };
  }

  #lookAtBegun(now: number): void {
    if (!this.#begun) return;
    const { target, at } = this.#begun;
    const isWhole = this.#pairs.every(({ secondary }) => hasTarget(secondary, target));
    if (!isWhole && now - at < anotherTimeMilliseconds) return;
    if (!isWhole) this.#counter.count('target left half-way');
    this.#begun = undefined;
  }

  /** It applies towards that marker from now on: everybody can follow (SAFETY 27). */
  #released(at: number, { released }: KeptHold): void {
    const { secondary } = must(this.#pairs[at], 'a pair');
    const id = idOf(released);
    const target = must(markerIdOf(released), 'a target');
    this.#counter.count('target moved');
    for (const { secondary: other } of this.#pairs) {
      if (hasTarget(other, target)) continue;
      this.#fail(`${secondary.name} applies towards ${id}, which ${other.name} does not have`);
    }
    const marker = this.#markers.get(id);
    if (!marker?.isCommitted) {
      return this.#fail(`${secondary.name} applies towards ${id}, which nobody committed`);
    }
    if (released?.number !== marker.numbers[at]) {
      this.#fail(`${secondary.name} takes update ${released?.number} for marker ${id}`);
    }
    this.#check(marker, `which ${secondary.name} applies towards`);
  }

  #lookAtApplied(node: CutNode): void {
    const { group } = node;
    const seen = this.#of(node);
    if (group?.role !== 'secondary' || !seen.hold) return;
    const { copies = [], resync } = group.follow.state ?? {};
    if (copies.length > 0 || resync) seen.isIncomplete = true;
    const { applied } = group.watermarks;
    if (applied <= seen.hold.heldAt || seen.isIncomplete) return;
    this.#fail(`${node.name} applied ${applied}, and is held at ${seen.hold.heldAt}`);
  }
}

/** As its next one, or one that it applies towards. */
function hasTarget({ promises }: CutNode, target: CutMarkerId): boolean {
  const hold = promises?.holds[0];
  return (
    hold !== undefined &&
    isAtLeast(newerOf(markerIdOf(hold.next), markerIdOf(hold.released)), target)
  );
}

function idOf(kept: { readonly epoch: string; readonly sequence: string } | null): string {
  return kept ? `${kept.epoch}.${kept.sequence}` : '';
}
