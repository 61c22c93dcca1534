import { calmWeather } from '../simulated-links.ts';
import { isComplete } from './fleet-contents.ts';
import type { FleetCampaign } from './fleet-campaign.ts';
import { type FleetMember, groupName } from './fleet-member.ts';
import { promoteMember } from './fleet-roles.ts';
import { begin, follow } from './fleet-sources.ts';

/**
 * A source is lost in the middle of a copy that shows more than was received with it, and more than whoever takes over
 * has: the copy does not go on from there as if nothing were (SAFETY 11).
 */
export async function loseSource(campaign: FleetCampaign): Promise<void> {
  const { rare, primary: source, fleet } = campaign;
  const { links } = fleet;
  const group = source?.group;
  // Else all that there is comes as records.
  if (!source || group?.state !== 'normal' || group.watermarks.released === 0) return;
  const following = campaign.serving.filter(
    (each) => !each.isJournalOnly && isComplete(each) && each.sourceSystemId === source.systemId,
  );
  if (following.length < 2) return;
  const heir = rare.pick(following);
  const copier = rare.pick(following.filter((each) => each !== heir));
  const names = [source, heir, copier].map(({ name }) => name);
  const mend = (): void => {
    for (const a of names) for (const b of names) if (a < b) links.mend(a, b);
  };
  links.weather = calmWeather;
  mend();
  if (await isCopiedAhead(campaign, source, heir, copier)) {
    campaign.counter.count('copy that shows more than its heir has');
    await campaign.crash(source, rare.pick(['kill', 'power']));
    if (await promoteMember(campaign, heir)) await follow(campaign, copier, heir);
    // Not so much that nothing of what was lost would be left.
    campaign.write(heir, 60, { sizeBytesMax: 512, clears: 0 });
    await campaign.pass(500);
  }
  mend();
}

/** False: it did not come to that. */
async function isCopiedAhead(
  campaign: FleetCampaign,
  source: FleetMember,
  heir: FleetMember,
  copier: FleetMember,
): Promise<boolean> {
  const allowed = ['state_refuses', 'shutting_down'] as const;
  const slow = { group: groupName, copyRate: '64KiB' };
  if ((await campaign.verb(source, 'group configure', slow, allowed)) !== 'done') return false;
  if ((await begin(campaign, copier, source)) !== 'done') return false;
  const input = { group: groupName };
  if ((await campaign.verb(copier, 'suspend', input, allowed)) !== 'done') return false;
  // More than comes in one answer.
  for (let round = 0; round < 6; round += 1) {
    campaign.write(source, 60);
    await campaign.pass(50);
  }
  const newestOf = ({ group }: FleetMember): number => group?.watermarks.newest ?? 0;
  if (!(await campaign.until(() => newestOf(heir) === newestOf(source), 5000))) return false;
  campaign.fleet.links.cut(source.name, heir.name);
  campaign.write(source, 20);
  source.group?.hurryApply();
  await campaign.pass(500);
  if ((await campaign.verb(copier, 'resume', input, allowed)) !== 'done') return false;
  const has = newestOf(heir);
  const showsMore = (): boolean => (copier.group?.follow.state?.shows ?? 0) > has;
  return (await campaign.until(showsMore, 5000)) && newestOf(copier) <= has;
}
