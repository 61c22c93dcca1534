import type { ExportClient, ExportSession } from '../../../src/group/apply/export.ts';
import type { Group } from '../../../src/group/order/group.ts';
import { MiB } from '../../../src/platform/limits.ts';
import type { CutMember } from '../../../src/replicator/cuts/cut-member.ts';
import { cutMemberOf } from '../../../src/replicator/cuts/group-cut-member.ts';
import type { Fleet, FleetSystem } from '../../replicator/fleet.ts';

export const cutGroup = 'g';
export const cutVolumeBytes = 64 * 1024;

/** What a system keeps of a cut in a file: durable whenever it is set. */
export interface CutPromises {
  /** Of controllers: the highest epoch that was claimed. */
  epoch: bigint;
  /** Of a secondary: the next target, and the one that it applies up to. */
  next: Target | undefined;
  through: number | undefined;
}

/** A marker that all secondaries of the target list have, and its number in each. */
export interface Target {
  readonly epoch: bigint;
  readonly sequence: bigint;
  readonly numbers: readonly number[];
}

/** One system that is a member of the cut, or in its target list: life after life. */
export class CutNode {
  readonly system: FleetSystem;
  readonly promises: CutPromises = { epoch: 0n, next: undefined, through: undefined };
  /** Claimed since the start: what was claimed before counts no more. */
  claimed = 0n;
  #isUp = false;

  constructor(fleet: Fleet, host: string) {
    this.system = fleet.add(host);
  }

  get name(): string {
    return this.system.host;
  }
  get isUp(): boolean {
    return this.#isUp && !this.system.daemon.isDead;
  }
  get group(): Group | undefined {
    return this.isUp ? this.system.system.groups.get(cutGroup) : undefined;
  }
  get member(): CutMember | undefined {
    const { group } = this;
    return group && cutMemberOf(group);
  }

  async start(): Promise<void> {
    await this.system.start();
    this.claimed = 0n;
    this.#isUp = true;
  }

  crash(isPower: boolean): void {
    this.#isUp = false;
    if (isPower) this.system.losePower();
    else this.system.kill();
  }

  open(client: ExportClient): ExportSession | undefined {
    if (!this.isUp) return undefined;
    const found = this.system.daemon.composed.exports.find(`${cutGroup}/v`);
    if (!found || this.group?.state !== 'normal') return undefined;
    return found.open(client);
  }
}

/** A primary and the secondary that the target list names for it. */
export interface CutPair {
  readonly primary: CutNode;
  readonly secondary: CutNode;
}

/** `isSynchronous`: hosts of the primary wait for the secondary too, while it is there. */
export async function setUpPair(
  fleet: Fleet,
  index: number,
  isSynchronous: boolean,
): Promise<CutPair> {
  const primary = new CutNode(fleet, `p${index}`);
  const secondary = new CutNode(fleet, `s${index}`);
  await primary.start();
  await secondary.start();
  const group = cutGroup;
  await primary.system.verb('group create', { group, journalSize: 256 * MiB });
  await primary.system.verb('volume create', { volume: `${group}/v`, size: cutVolumeBytes });
  const how = isSynchronous ? { sync: true } : {};
  if (isSynchronous) {
    const settings = { syncTimeout: '200ms', onSyncLoss: 'degrade' };
    await primary.system.verb('group configure', { group, ...settings });
  }
  await secondary.system.verb('follow', { group, from: primary.system.url, ...how });
  await secondary.system.caughtUp(primary.system);
  return { primary, secondary };
}
