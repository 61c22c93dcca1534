import type { ExportClient } from '../../../src/group/apply/export.ts';
import { partedContents } from '../../../src/group/volumes/shown-contents.ts';
import { JnbdError } from '../../../src/platform/errors.ts';
import type { FleetCampaign } from './fleet-campaign.ts';
import type { FleetMember } from './fleet-member.ts';

const silent: ExportClient = {
  peer: '10.0.0.8:1',
  admitted: () => undefined,
  durableReached: () => undefined,
  durableFailed: () => undefined,
  readCompleted: () => undefined,
  revoke: () => undefined,
};

/** What a member shows of each volume is what was written up to one update number, the one it has. */
export async function checkContents(campaign: FleetCampaign, member: FleetMember): Promise<void> {
  const { group } = member;
  if (!group || !isShown(member)) return;
  const { newest } = group.watermarks;
  for (const { catalog, state, rollsBackTo } of group.volumes.values()) {
    // What the one before waited for may have changed that.
    if (!isShown(member)) return;
    // Nor may a change of the catalog have been durable before, and so be known.
    member.image.moveTo(group.catalog.lineage, newest);
    if (state !== 'normal' || catalog.journalOnly) continue;
    if (member.image.goingBack(catalog.id).length > 0) {
      checkShut(campaign, member, catalog.name);
      continue;
    }
    // What it is to hold is being gathered.
    if (rollsBackTo !== undefined) continue;
    const expected = member.image.volumes.get(catalog.id);
    // A change of the catalog is on its way.
    if (expected?.length !== catalog.sizeBytes) continue;
    const found = await readVolume(campaign, member, catalog.name, catalog.sizeBytes);
    if (!found || group.watermarks.newest !== newest) return;
    if (!found.equals(expected)) {
      campaign.fail(
        `${member.name}: volume ${catalog.name} is not as of update ${newest}: ${difference(found, expected)}`,
      );
    }
    campaign.counter.count('volume compared');
  }
}

/** What hosts read is of one instant, though it may not be applied yet. */
function isShown({ group }: FleetMember): boolean {
  if (group?.state !== 'normal' || group.role === 'diverged') return false;
  const { copies = [], shows = 0, resync } = group.follow.state ?? {};
  if (resync || copies.length > 0) return false;
  return group.watermarks.newest >= shows && partedContents(group) === undefined;
}

/** Of a volume that is on its way back nobody reads anything, wherever it is. */
function checkShut(campaign: FleetCampaign, member: FleetMember, volume: string): void {
  try {
    member.reader(volume, silent)?.close();
  } catch (error) {
    if (!(error instanceof JnbdError)) throw error;
    campaign.counter.count('volume kept shut');
    return;
  }
  campaign.fail(`${member.name}: volume ${volume} is on its way back, and hosts may read it`);
}

/** It has contents of one instant. */
export function isComplete({ group }: FleetMember): boolean {
  if (!group) return false;
  const { copies = [], shows = 0, resync } = group.follow.state ?? {};
  const isWhole = !resync && copies.length === 0 && group.watermarks.applied >= shows;
  return isWhole && partedContents(group) === undefined;
}

export async function readVolume(
  campaign: FleetCampaign,
  member: FleetMember,
  volume: string,
  length: number,
): Promise<Buffer | undefined> {
  let failure: number | undefined;
  const session = member.reader(volume, {
    ...silent,
    readCompleted: (_token, error) => {
      failure = error;
    },
  });
  if (!session) return undefined;
  const bytes = Buffer.alloc(length);
  const result = session.read(0, length, bytes, 0, 1);
  if (result >= 0) failure = result;
  else await campaign.until(() => failure !== undefined || !member.isServing);
  if (!member.isServing) return undefined;
  session.close();
  if (failure === 0) return bytes;
  if (campaign.troubled.has(member)) return undefined;
  campaign.fail(`${member.name}: reading volume ${volume} fails with ${failure}`);
}

function difference(found: Buffer, expected: Buffer): string {
  let from = 0;
  while (found[from] === expected[from]) from += 1;
  let end = found.length;
  while (found[end - 1] === expected[end - 1]) end -= 1;
  const isZero = found.subarray(from, end).every((byte) => byte === 0);
  return `${isZero ? 'zeroes' : 'other bytes'} from ${from} to ${end}`;
}
