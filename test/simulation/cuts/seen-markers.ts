import { isAbove, type MarkerId } from '../../../src/journal/cut-record.ts';
import type { CutNode, CutPair } from './cut-system.ts';

/** Of the newest of a journal: whether they were committed meanwhile. */
const lookedAtAgain = 20;

interface Seen extends MarkerId {
  readonly number: number;
  isCommitted: boolean;
}

/** The markers of every journal, as they were seen there, durable: also of systems that are gone now. */
export class SeenMarkers {
  readonly #pairs: readonly CutPair[];
  readonly #committed: (id: string, numbers: readonly number[]) => void;
  readonly #byNode = new Map<CutNode, Map<string, Seen>>();
  readonly #told = new Set<string>();

  /** `committed`: once for each marker, with its number at each primary. */
  constructor(
    pairs: readonly CutPair[],
    committed: (id: string, numbers: readonly number[]) => void,
  ) {
    this.#pairs = pairs;
    this.#committed = committed;
  }

  look(): void {
    const cutId = this.#cutId();
    if (cutId === undefined) return;
    for (const { primary, secondary } of this.#pairs) {
      for (const node of [primary, secondary]) this.#lookAt(node, cutId);
    }
    for (const { primary } of this.#pairs) {
      for (const [id, { isCommitted }] of this.#of(primary)) if (isCommitted) this.#tell(id);
    }
  }

  /** The numbers of the newest marker that all secondaries have, and one of them committed. */
  selectable(): readonly number[] | undefined {
    const [first, ...others] = this.#pairs.map(({ secondary }) => this.#of(secondary));
    let newest: Seen | undefined;
    let numbers: readonly number[] | undefined;
    for (const [id, marker] of first ?? []) {
      const all = [marker, ...others.flatMap((markers) => markers.get(id) ?? [])];
      if (all.length < this.#pairs.length || !all.some(({ isCommitted }) => isCommitted)) continue;
      if (newest && !isAbove(marker, newest)) continue;
      newest = marker;
      numbers = all.map(({ number }) => number);
    }
    return numbers;
  }

  #cutId(): string | undefined {
    for (const { primary, secondary } of this.#pairs) {
      for (const node of [primary, secondary]) {
        const [cut] = node.isUp ? node.system.daemon.composed.cuts.list() : [];
        if (cut) return cut.cutId;
      }
    }
    return undefined;
  }

  #of(node: CutNode): Map<string, Seen> {
    const known = this.#byNode.get(node) ?? new Map<string, Seen>();
    this.#byNode.set(node, known);
    return known;
  }

  #lookAt(node: CutNode, cutId: string): void {
    const { group } = node;
    if (!group) return;
    const { durable } = group.watermarks;
    const known = this.#of(node);
    const listed = group.cuts.records.list(cutId, durable);
    for (let at = listed.length - 1; at >= 0; at -= 1) {
      const marker = listed[at];
      if (!marker) break;
      const id = `${marker.epoch}.${marker.sequence}`;
      const isCommitted = marker.committedAt !== undefined && marker.committedAt <= durable;
      const before = known.get(id);
      if (!before) known.set(id, { ...marker, isCommitted });
      else if (isCommitted) before.isCommitted = true;
      if (before && listed.length - at > lookedAtAgain) break;
    }
  }

  #tell(id: string): void {
    if (this.#told.has(id)) return;
    const all = this.#pairs.flatMap(({ primary }) => this.#of(primary).get(id)?.number ?? []);
    if (all.length < this.#pairs.length) return;
    this.#told.add(id);
    this.#committed(id, all);
  }
}
