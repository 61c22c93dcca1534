import type { CatalogSnapshot } from '../../group/catalog/snapshots.ts';
import {
  type ReadTurn,
  SnapshotContents,
  type SnapshotContentsGroup,
} from '../../group/snapshots/snapshot-contents.ts';
import { JnbdError } from '../../platform/errors.ts';
import { blockBytes } from '../../platform/limits.ts';
import { RegionSet } from '../../volume/region-set.ts';
import { differingUnits, hashUnitBytes } from '../../volume/unit-hashes.ts';
import { fineRangeBytesMax, viewRangeBytesMax } from '../protocol/wire-verify.ts';
import type { VerifyPeer } from './verify-peer.ts';

/** A volume as a snapshot has it, here and elsewhere. */
export interface ComparedView {
  readonly snapshot: CatalogSnapshot;
  readonly volume: number;
  readonly dataBytes: number;
}

export interface ViewComparisonDependencies {
  readonly turn: ReadTurn;
  /** Throws where it is not to go on. */
  readonly checkWanted: () => void;
  /** So much more was compared. */
  readonly compared: (bytes: number) => void;
}

/** Where most of a volume differs, it does not matter which blocks do. */
const fineRunsMax = 1024;

/** What is found of one system while it is compared. */
export class PeerComparison {
  readonly peer: VerifyPeer;
  failure: JnbdError | undefined;
  /** By number of the snapshot: what differs of its volumes, by their ids. */
  readonly regions = new Map<number, RegionSet>();
  #fineRuns = 0;

  constructor(peer: VerifyPeer) {
    this.peer = peer;
  }

  get differingBytes(): number {
    let bytes = 0;
    for (const regions of this.regions.values()) bytes += regions.bytes;
    return bytes;
  }

  /** Never rejects: what goes wrong there is its own, and ends the comparison with this system. */
  async compare(
    view: ComparedView,
    contents: SnapshotContents,
    ours: Promise<Uint8Array>,
    offset: number,
    length: number,
    turn: ReadTurn,
  ): Promise<void> {
    const { snapshot, volume } = view;
    try {
      const theirs = await this.peer.hashes(snapshot.number, volume, offset, length, hashUnitBytes);
      const own = await ours;
      for (const run of runsOf(differingUnits(theirs, own, offset, length))) {
        await this.#lookCloser(view, contents, run.offset, run.length, turn);
      }
    } catch (error) {
      if (!(error instanceof JnbdError)) throw error;
      this.failure = error;
    }
  }

  async #lookCloser(
    { snapshot, volume }: ComparedView,
    contents: SnapshotContents,
    offset: number,
    length: number,
    turn: ReadTurn,
  ): Promise<void> {
    let regions = this.regions.get(snapshot.number);
    if (!regions) this.regions.set(snapshot.number, (regions = new RegionSet()));
    this.#fineRuns += 1;
    if (this.#fineRuns > fineRunsMax) {
      regions.add(volume, offset, length);
      return;
    }
    const [theirs, ours] = await Promise.all([
      this.peer.hashes(snapshot.number, volume, offset, length, blockBytes),
      contents.hashes(offset, offset + length, blockBytes, turn),
    ]);
    const units = [...differingUnits(theirs, ours, offset, length, blockBytes)];
    for (const unit of units) regions.add(volume, unit.offset, unit.length);
    // Read twice it was not the same twice: somewhere it cannot be believed.
    if (units.length === 0) regions.add(volume, offset, length);
  }
}

/**
 * Compares volumes as snapshots have them here and at other systems, by hashes, while all of them go on. Of the
 * same snapshot all have the same, so what differs is damaged somewhere. Rejects with JnbdError where it cannot be read here.
 */
export async function compareViews(
  group: SnapshotContentsGroup,
  views: readonly ComparedView[],
  comparisons: readonly PeerComparison[],
  { turn, checkWanted, compared }: ViewComparisonDependencies,
): Promise<void> {
  for (const view of views) {
    const { snapshot, volume, dataBytes } = view;
    const contents = SnapshotContents.find(group, snapshot.number, volume);
    for (let at = 0; at < dataBytes; at += viewRangeBytesMax) {
      checkWanted();
      const left = comparisons.filter(({ failure }) => !failure);
      if (left.length === 0) return;
      const length = Math.min(viewRangeBytesMax, dataBytes - at);
      const ours = contents.hashes(at, at + length, hashUnitBytes, turn);
      await Promise.all([
        ours,
        ...left.map((each) => each.compare(view, contents, ours, at, length, turn)),
      ]);
      compared(length);
    }
  }
}

interface Run {
  readonly offset: number;
  readonly length: number;
}

/** Neighbours together, as far as one request reaches. */
function* runsOf(units: Iterable<Run>): Generator<Run> {
  let run: Run | undefined;
  for (const { offset, length } of units) {
    if (run && run.offset + run.length === offset && run.length + length <= fineRangeBytesMax) {
      run = { offset: run.offset, length: run.length + length };
      continue;
    }
    if (run) yield run;
    run = { offset, length };
  }
  if (run) yield run;
}
