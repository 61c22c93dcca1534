import type { ExportClient, ExportSession } from '../../../src/group/apply/export.ts';
import type { Group } from '../../../src/group/order/group.ts';
import { MiB } from '../../../src/platform/limits.ts';
import { CutFiles, type CutState } from '../../../src/replicator/cuts/cut-file.ts';
import type { LocalCut } from '../../../src/replicator/cuts/cut-report.ts';
import type { Fleet, FleetSystem } from '../../replicator/fleet.ts';
import type { SimulatedNode } from '../simulated-directory.ts';

export const cutGroup = 'g';
export const cutName = 'orders';
export const cutList = 'east';
export const cutVolumeBytes = 64 * 1024;
const directory = '/data';

/** One system that is a member of the cut, or in its target list: life after life. */
export class CutNode {
  readonly system: FleetSystem;
  #isUp = false;
  #file: SimulatedNode | undefined;
  /** Of the names that it was looked for among. */
  #revision = -1;
  #state: CutState | undefined;

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
  /** What its daemon says of the cut. */
  get cut(): LocalCut | undefined {
    return this.isUp ? this.system.daemon.composed.cuts.list()[0] : undefined;
  }
  /** What is on its disk of the cut, whether it runs or not. */
  get promises(): CutState | undefined {
    const { machine } = this.system;
    if (machine.tree.revision === this.#revision) return this.#state;
    this.#revision = machine.tree.revision;
    const file = machine.tree.find(`${directory}/cuts/${cutName}.cut`);
    if (file !== this.#file) {
      this.#file = file;
      this.#state = new CutFiles(machine.attach(), directory).list()[0]?.state;
    }
    return this.#state;
  }

  begin(): void {
    this.system.begin();
    const { daemon } = this.system;
    void daemon.starting.then(() => {
      if (daemon === this.system.daemon) this.#isUp = true;
    });
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
  for (const node of [primary, secondary]) {
    node.begin();
    await node.system.run(node.system.daemon.starting);
  }
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

/** The cut over all of them: their daemons make markers, and bring the secondaries from one to the next. */
export async function createCut(
  asked: CutNode,
  pairs: readonly CutPair[],
  interval: string,
): Promise<void> {
  const place = ({ system }: CutNode): string => `${system.url}/${cutGroup}`;
  await asked.system.verb('cut create', {
    cut: cutName,
    member: pairs.map(({ primary }) => place(primary)),
    targets: [`${cutList}=${pairs.map(({ secondary }) => place(secondary)).join(',')}`],
    interval,
  });
}
