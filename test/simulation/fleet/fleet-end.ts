import { partedContents } from '../../../src/group/volumes/shown-contents.ts';
import type { ConditionCode } from '../../../src/group/catalog/conditions.ts';
import { KiB } from '../../../src/platform/limits.ts';
import { checkContents, isComplete } from './fleet-contents.ts';
import { calmWeather } from '../simulated-links.ts';
import { describe, type FleetCampaign } from './fleet-campaign.ts';
import { type FleetMember, groupName } from './fleet-member.ts';
import { finishGoingBack } from './fleet-rollbacks.ts';
import { promoteMember } from './fleet-roles.ts';
import { allow, begin, follow, rewind } from './fleet-sources.ts';

/** What nothing but a new copy mends. */
const beginAgain: readonly string[] = [
  'position_released',
  'diverged',
  'contents_diverged',
  'generation_newer',
];
/** What a directory that failed once is told by, until the next start of the daemon. */
const untilRestart: readonly ConditionCode[] = ['area_failed', 'journal_in_emergency_area'];
const patienceMilliseconds = 200_000;
const roundMilliseconds = 20_000;

/** The faults are over: one history is everywhere, and the same. */
export async function converge(campaign: FleetCampaign): Promise<void> {
  campaign.note('the faults are over');
  calmDown(campaign);
  for (const member of campaign.members) {
    await campaign.start(member);
    // The next start alone looks again at a journal that failed in all its areas, which kept what was durable, and
    // at a volume that could not be opened.
    if (member.group?.state !== 'abnormal' && !hasUnopened(member)) continue;
    await campaign.crash(member, 'power');
    await campaign.start(member);
  }
  const primary = await findPrimary(campaign);
  // Who waits for a follower that has to copy applies nothing that others would begin with.
  if (campaign.synchronous) {
    await campaign.verb(primary, 'group configure', { group: groupName, onSyncLoss: 'degrade' });
  }
  const joined = [primary];
  for (const member of campaign.members) {
    if (member === primary) continue;
    const source = campaign.random.chance(0.3) ? campaign.random.pick(joined) : primary;
    const isOfUse = !source.isJournalOnly && !(source.group && partedContents(source.group));
    await join(campaign, member, isOfUse ? source : primary, primary);
    joined.push(member);
  }
  await forgetThoseWhoLeft(campaign);
  await campaign.pass(50);
  await makeSureOfVolume(campaign, primary);
  await finishGoingBack(campaign, primary);
  campaign.write(primary, 60);
  await catchUpAndCompare(campaign, primary, untilRestart);
  for (const member of campaign.members) await campaign.crash(member, 'stop');
  for (const member of campaign.members) await campaign.start(member);
  await catchUpAndCompare(campaign, primary, []);
}

/** Whom replies wait for is recorded at any time: then it is looked at again. */
async function catchUpAndCompare(
  campaign: FleetCampaign,
  primary: FleetMember,
  excused: readonly ConditionCode[],
): Promise<void> {
  for (let attempt = 0; attempt < 10; attempt += 1) {
    await catchUp(campaign, primary, excused);
    if (await compare(campaign, primary)) return;
  }
  campaign.fail(`${primary.name} does not come to rest`);
}

function hasUnopened({ group }: FleetMember): boolean {
  const volumes = [...(group?.volumes.values() ?? [])];
  return volumes.some(({ catalog, file }) => !catalog.journalOnly && !file);
}

function calmDown({ fleet, members, troubled }: FleetCampaign): void {
  fleet.links.weather = calmWeather;
  for (const a of members) {
    a.system.machine.faults.clear();
    for (const b of members) if (a.name < b.name) fleet.links.mend(a.name, b.name);
  }
  troubled.clear();
}

/** A history in which nothing was numbered parts from no other: who has another one is not told so. */
async function makeSureOfVolume(campaign: FleetCampaign, primary: FleetMember): Promise<void> {
  if (primary.group?.volumes.size !== 0) return;
  const volume = `${groupName}/${campaign.newVolume()}`;
  await campaign.verb(primary, 'volume create', { volume, size: 64 * KiB });
}

/** Who is primary, or is to be it. */
async function findPrimary(campaign: FleetCampaign): Promise<FleetMember> {
  await campaign.until(() => campaign.primary !== undefined, 10_000);
  if (campaign.primary) return campaign.primary;
  const secondaries = campaign.members.filter(
    (each) => each.group && each.group.role !== 'primary' && !each.isJournalOnly,
  );
  for (const heir of secondaries) {
    if (!isComplete(heir)) continue;
    await campaign.until(() => isApplied(heir), patienceMilliseconds);
    // What was handed over, or is diverged, wants force, which not every attempt has.
    for (let attempt = 0; attempt < 10; attempt += 1) {
      if (await promoteMember(campaign, heir)) return heir;
    }
  }
  // Nobody else has contents of one instant.
  const last = [...campaign.stale].find(({ group }) => group?.role === 'primary');
  if (!last) return campaign.fail('nobody can be primary');
  campaign.stale.delete(last);
  return last;
}

function isApplied({ group }: FleetMember): boolean {
  const { applied, durable, newest } = group?.watermarks ?? { applied: 0, durable: 0, newest: -1 };
  return applied === newest && durable === newest;
}

/** One that nobody could tell may have been primary too, in a newer generation: a command decides. */
async function keepPrimary(campaign: FleetCampaign, primary: FleetMember): Promise<void> {
  for (let attempt = 0; attempt < 10 && primary.group?.role === 'diverged'; attempt += 1) {
    await promoteMember(campaign, primary);
  }
}

async function join(
  campaign: FleetCampaign,
  member: FleetMember,
  source: FleetMember,
  primary: FleetMember,
): Promise<void> {
  const { group } = member;
  if (group && group.role !== 'primary') {
    if (group.role === 'secondary' && group.follow.state?.isSuspended) {
      await campaign.verb(member, 'resume', { group: groupName });
    }
    // Following the same source again asks it nothing.
    await allow(campaign, source, member);
    if ((await follow(campaign, member, source)) === 'done') return;
  }
  const mayRewind = group && !source.isJournalOnly && campaign.random.chance(0.6);
  if (mayRewind && (await rewind(campaign, member, source)) === 'done') return;
  // A source that is brought up to date at 64 KiB a second itself takes minutes before it can be followed.
  for (let attempt = 0; attempt < 12; attempt += 1) {
    await keepPrimary(campaign, primary);
    if ((await begin(campaign, member, source)) === 'done') return;
    await campaign.pass(roundMilliseconds);
  }
  campaign.fail(`${member.name} cannot follow ${source.name}`);
}

/** Who follows another system now is kept nothing for. */
async function forgetThoseWhoLeft(campaign: FleetCampaign): Promise<void> {
  for (const source of campaign.members) {
    for (const { systemId, name } of source.group?.followers.list() ?? []) {
      const follower = campaign.members.find((each) => each.systemId === systemId);
      if (follower?.sourceSystemId === source.systemId) continue;
      const input = { group: groupName, secondary: name };
      await campaign.verb(source, 'secondary remove', input, ['group_state']);
    }
  }
}

/** Its source has the group anew, and knows nothing of whom it allowed before. */
async function allowAgain(campaign: FleetCampaign, member: FleetMember): Promise<void> {
  const source = campaign.members.find(({ systemId }) => systemId === member.sourceSystemId);
  if (source) await allow(campaign, source, member);
}

/** Everybody has all, and is well but for what is `excused`; who was left behind meanwhile copies anew. */
async function catchUp(
  campaign: FleetCampaign,
  primary: FleetMember,
  excused: readonly ConditionCode[],
): Promise<void> {
  const waiting = (): FleetMember[] =>
    campaign.members.filter((each) => !hasAll(each, primary, excused));
  const end = campaign.now + patienceMilliseconds;
  while (campaign.now < end) {
    if (await campaign.until(() => waiting().length === 0, roundMilliseconds)) return;
    await keepPrimary(campaign, primary);
    for (const member of waiting()) {
      const { follower, isJournalOnly } = member;
      // A journal alone has nothing that regions could be brought to.
      const isRefused = isJournalOnly && follower?.state === 'refused';
      const isLost = isRefused || beginAgain.includes(follower?.failure?.code ?? '');
      if (isLost || member.group?.role === 'diverged') await begin(campaign, member, primary);
      else if (follower?.failure?.code === 'follower_not_allowed')
        await allowAgain(campaign, member);
    }
    await forgetThoseWhoLeft(campaign);
  }
  const texts = waiting().map(describe);
  const { newest = 0 } = primary.group?.watermarks ?? {};
  campaign.fail(`not everybody has ${newest} of ${primary.name}: ${texts.join('; ')}`);
}

function hasAll(
  member: FleetMember,
  primary: FleetMember,
  excused: readonly ConditionCode[],
): boolean {
  const newest = primary.group?.watermarks.newest;
  return (
    newest === member.group?.watermarks.newest &&
    isApplied(member) &&
    isComplete(member) &&
    member.group?.conditions
      .list()
      .every(({ code }) => code === 'sync_lost' || excused.includes(code)) === true
  );
}

/** False: the primary has something new meanwhile. */
async function compare(campaign: FleetCampaign, primary: FleetMember): Promise<boolean> {
  const expected = summary(primary);
  for (const member of campaign.members) {
    await checkContents(campaign, member);
    const found = summary(member);
    if (summary(primary) !== expected) return false;
    if (found !== expected) {
      campaign.fail(`${member.name} has ${found}, and ${primary.name} ${expected}`);
    }
  }
  return true;
}

/** All that is to be the same everywhere. */
function summary({ group }: FleetMember): string {
  if (!group) return 'nothing';
  const { lineage, number, volumes } = group.catalog;
  const { newest } = group.watermarks;
  const shapes = volumes.map(({ id, name, sizeBytes }) => ({ id, name, sizeBytes }));
  const held = lineage.filter(({ firstNumber }) => firstNumber <= newest);
  return JSON.stringify({ newest, number, shapes, held });
}
