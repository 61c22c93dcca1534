import type { CatalogSnapshot } from '../../group/catalog/snapshots.ts';
import { areaName, isHidden } from '../../group/catalog/snapshots.ts';
import type { Group } from '../../group/order/group.ts';
import { JnbdError } from '../../platform/errors.ts';
import type { ComparedView, PeerComparison } from './view-comparison.ts';
import type { Difference, VerifiedSystem, VerifyWish } from '../../group/system/verification.ts';

const differencesMax = 1000;
const waitMilliseconds = 20;

/** One verification while it is under way. */
export class VerifyJob {
  readonly group: Group;
  readonly wish: VerifyWish;
  comparedBytes = 0;
  totalBytes = 0;
  /** It cannot go on. */
  failure: JnbdError | undefined;

  constructor(group: Group, wish: VerifyWish) {
    this.group = group;
    this.wish = wish;
  }

  get isWanted(): boolean {
    return !this.wish.signal.aborted && this.group.state === 'normal' && !this.failure;
  }

  /** Throws state_refuses, group_state. */
  checkWanted(): void {
    if (this.failure) throw this.failure;
    const { group, wish } = this;
    if (group.state !== 'normal')
      throw new JnbdError('group_state', `group ${group.name} is ${group.state}`);
    if (wish.signal.aborted)
      throw new JnbdError('state_refuses', `verifying group ${group.name} was stopped`);
  }

  compared(bytes: number): void {
    this.comparedBytes += bytes;
    this.wish.progress(this.comparedBytes, this.totalBytes);
  }

  /** Resolves with the snapshot once it is here. Rejects with timed_out. */
  async untilHere(number: number, deadline: number): Promise<CatalogSnapshot> {
    const { group } = this;
    while (group.catalog.number < number) {
      this.checkWanted();
      await this.waitUntil(deadline, `this system has update ${number} of group ${group.name}`);
    }
    const snapshot = group.snapshots.living.find((each) => each.number === number);
    if (snapshot) return snapshot;
    const text = `the snapshot by which group ${group.name} was to be verified is gone`;
    throw new JnbdError('state_refuses', text);
  }

  /** It is there too from then on, or has failed. */
  async untilThere(
    comparison: PeerComparison,
    { number, areas: [first] }: CatalogSnapshot,
    deadline: number,
  ): Promise<void> {
    const { name } = comparison.peer;
    while (first) {
      try {
        await comparison.peer.hashes(number, first.volume, 0, 1, 4096);
        return;
      } catch (error) {
        if (!(error instanceof JnbdError)) throw error;
        if (error.code === 'snapshot_not_found') {
          try {
            this.checkWanted();
            await this.waitUntil(deadline, `system ${name} has update ${number}`);
            continue;
          } catch (late) {
            if (!(late instanceof JnbdError)) throw late;
            comparison.failure = late;
            return;
          }
        }
        comparison.failure = error;
        return;
      }
    }
  }

  async waitUntil(deadline: number, what: string): Promise<void> {
    const { clock } = this.group;
    if (clock.monotonicMilliseconds() >= deadline)
      throw new JnbdError('timed_out', `it took too long until ${what}; give more --timeout`);
    await new Promise<void>((resolve) => clock.after(waitMilliseconds, resolve));
  }
}

/** What is compared by that snapshot, and, where they are wanted, by those that users made before it. */
export function viewsOf(
  { snapshots, volumes }: Group,
  snapshot: CatalogSnapshot,
  withSnapshots: boolean,
): readonly ComparedView[] {
  const others = snapshots.living.filter(
    (each) => withSnapshots && each.number < snapshot.number && !isHidden(each),
  );
  return [snapshot, ...others].flatMap((each) =>
    each.areas.map(({ volume, area }) => {
      const dataBytes = volumes.get(areaName(area))?.catalog.preserves?.dataBytes ?? 0;
      return { snapshot: each, volume, dataBytes };
    }),
  );
}

/** What came of it, by the names that users know. */
export function verifiedSystem(
  { volumes, snapshots }: Group,
  { peer, failure, regions, differingBytes }: PeerComparison,
): VerifiedSystem {
  const names = new Map([...volumes.values()].map(({ catalog }) => [catalog.id, catalog.name]));
  const differences: Difference[] = [];
  for (const [number, set] of regions) {
    const found = snapshots.living.find((each) => each.number === number);
    const snapshot = found && !isHidden(found) ? found.name : null;
    for (const { volume, offset, length } of set.ranges()) {
      if (differences.length >= differencesMax) break;
      const name = names.get(volume) ?? String(volume);
      differences.push({ snapshot, volume: name, offset, length });
    }
  }
  const result = differingBytes > 0 ? 'different' : failure ? 'failed' : 'same';
  return { name: peer.name, result, reason: failure?.message ?? '', differingBytes, differences };
}
