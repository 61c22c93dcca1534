import type { ErrorCode } from '../../../src/platform/errors.ts';
import { isComplete } from './fleet-contents.ts';
import type { FleetCampaign } from './fleet-campaign.ts';
import { type FleetMember, groupName } from './fleet-member.ts';
import { calmWeather } from '../simulated-links.ts';
import { begin, follow, rewind } from './fleet-sources.ts';

/** Whoever is primary now, or may find that it is, is not what hosts use any more. */
function supersede(campaign: FleetCampaign, heir: FleetMember): FleetMember[] {
  const rivals = campaign.members.filter(
    (each) =>
      each !== heir &&
      !campaign.stale.has(each) &&
      (each.lastRole === 'primary' || campaign.heirs.has(each)),
  );
  for (const rival of rivals) {
    campaign.stale.add(rival);
    if (rival.isServing) rival.dropHosts();
  }
  return rivals;
}

/** Failover: where the primary is gone, or cannot be reached any more. */
export async function promote(campaign: FleetCampaign): Promise<void> {
  const { random, primary } = campaign;
  if (primary && !random.chance(0.3)) return;
  const secondaries = campaign.serving.filter(
    (each) => each.group && each.group.role !== 'primary' && !each.isJournalOnly,
  );
  if (secondaries.length === 0) return;
  await promoteMember(campaign, random.pick(secondaries));
}

/** `at`: what it has behind that update is taken back. */
export async function promoteMember(
  campaign: FleetCampaign,
  heir: FleetMember,
  at?: number,
): Promise<boolean> {
  const { group } = heir;
  if (!group) return false;
  const wasStale = campaign.stale.delete(heir);
  const rivals = supersede(campaign, heir);
  // What was handed over is taken back by force alone; contents that are not whole never are, here.
  const { handedOver } = group.catalog;
  const isGivenAway = handedOver !== undefined && handedOver.to !== heir.systemId;
  const isParted = group.role === 'diverged' && campaign.random.chance(0.5);
  const isForcible = isGivenAway ? campaign.random.chance(0.7) : isParted;
  const force = isForcible && isComplete(heir);
  // A resync under way is taken back.
  heir.isUndecided = true;
  const hasClaimed = campaign.protection.claims(heir);
  const input = { group: groupName, force, ...(at === undefined ? {} : { at: String(at) }) };
  const codes = at === undefined ? [] : goingBackCodes;
  const outcome = await campaign.verb(heir, 'promote', input, [
    ...codes,
    'confirmation_needed',
    'state_refuses',
  ]);
  if (outcome !== 'dead') heir.isUndecided = false;
  if (outcome === 'done') {
    if (isGivenAway && !force) campaign.fail(`${heir.name} took what was given to another one`);
    campaign.counter.count('promotion');
    campaign.protection.promoted(hasClaimed);
    campaign.heirs.delete(heir);
    return true;
  }
  if (outcome === 'dead') {
    campaign.heirs.add(heir);
    return false;
  }
  for (const rival of rivals) campaign.stale.delete(rival);
  if (wasStale) campaign.stale.add(heir);
  return false;
}

/** Where the past has gone meanwhile, or cannot be read, or there is no room to say so. */
export const goingBackCodes: readonly ErrorCode[] = [
  'state_refuses',
  'position_released',
  'record_unreadable',
  'read_failed',
  'volume_abnormal',
  'journal_full',
  'shutting_down',
];

/** Why a handoff may be refused. */
const handOffCodes: readonly ErrorCode[] = [
  'state_refuses',
  'follower_not_found',
  'timed_out',
  'shutting_down',
  // By what followers still need, which were cut off.
  'journal_full',
];

/** Planned, nothing lost: from the record on that says so the heir alone may be primary. */
export async function handOff(campaign: FleetCampaign): Promise<void> {
  const { random, primary } = campaign;
  const group = primary?.group;
  if (!primary || group?.state !== 'normal') return;
  const known = group.followers.list().map(({ systemId }) => systemId);
  const heirs = campaign.members.filter(
    ({ systemId, isJournalOnly }) =>
      systemId !== undefined && known.includes(systemId) && !isJournalOnly,
  );
  if (heirs.length === 0) {
    // Also one that is being rolled back.
    const codes: readonly ErrorCode[] = ['follower_not_found', 'state_refuses'];
    await campaign.verb(primary, 'handoff', { group: groupName, to: 'nobody' }, codes);
    return;
  }
  const heir = random.pick(heirs);
  const isLate = random.chance(0.25);
  if (isLate) {
    campaign.fleet.links.cut(primary.name, heir.name, 'silent');
    for (let round = 0; round < 8; round += 1) {
      campaign.write(primary, 300, { sizeBytesMax: 512, clears: 0 });
      await campaign.pass(2);
    }
  }
  const before = new Set(campaign.heirs);
  campaign.heirs.add(heir);
  const timeout = isLate ? '200ms' : '5s';
  const input = { group: groupName, to: heir.name, timeout };
  const outcome = await campaign.verb(primary, 'handoff', input, handOffCodes);
  if (outcome === 'refused' && !before.has(heir)) campaign.heirs.delete(heir);
  if (outcome === 'done') campaign.counter.count('handoff');
}

/**
 * An heir that reads from another system reads late that the group is its own, when its giver has taken it back by
 * force and can be asked (SAFETY 16, 17).
 */
export async function takeBack(campaign: FleetCampaign): Promise<void> {
  const { rare, primary: giver, fleet } = campaign;
  const { links } = fleet;
  const source = giver?.group;
  if (!giver || source?.state !== 'normal') return;
  const following = campaign.serving.filter(
    (each) =>
      // One that was given the group before, and it was taken back, may become primary any moment.
      !campaign.stale.has(each) &&
      each.sourceSystemId === giver.systemId &&
      source.followers.find(each.systemId ?? 0)?.state === 'following' &&
      each.group?.follow.state?.isSuspended === false,
  );
  const heirs = following.filter((each) => !each.isJournalOnly && isComplete(each));
  if (heirs.length === 0 || following.length < 2) return;
  const heir = rare.pick(heirs);
  const between = rare.pick(following.filter((each) => each !== heir));
  const pairs = [
    [giver, heir],
    [giver, between],
    [heir, between],
  ] as const;
  const mend = (): void => {
    for (const [a, b] of pairs) links.mend(a.name, b.name);
  };
  links.weather = calmWeather;
  mend();
  links.cut(giver.name, heir.name);
  if ((await follow(campaign, heir, between)) === 'done') {
    links.cut(heir.name, between.name);
    if (await giveAndTakeBack(campaign, giver, heir, between)) {
      links.mend(giver.name, heir.name);
      links.mend(heir.name, between.name);
      await seeThatItAsks(campaign, heir);
    }
  }
  mend();
}

/** False: it did not come to that. */
async function giveAndTakeBack(
  campaign: FleetCampaign,
  giver: FleetMember,
  heir: FleetMember,
  between: FleetMember,
): Promise<boolean> {
  campaign.heirs.add(heir);
  const input = { group: groupName, to: heir.name, timeout: '5s' };
  if ((await campaign.verb(giver, 'handoff', input, handOffCodes)) !== 'done') return false;
  campaign.counter.count('handoff');
  const isPassedOn = (): boolean => between.group?.catalog.handedOver?.to === heir.systemId;
  if (!(await campaign.until(isPassedOn, 5000))) return false;
  campaign.fleet.links.cut(giver.name, between.name);
  supersede(campaign, giver);
  // It has all that the heir has, and must not go on with it unless somebody insists (SAFETY 16).
  const refused = { group: groupName, force: false };
  const refusals = ['state_refuses', 'confirmation_needed'] as const;
  if ((await campaign.verb(giver, 'promote', refused, refusals)) === 'done')
    campaign.fail(`${giver.name} took what was given to another one`);
  campaign.stale.delete(heir);
  const taken = { group: groupName, force: true };
  if ((await campaign.verb(giver, 'promote', taken, ['state_refuses'])) === 'done') return true;
  campaign.stale.add(heir);
  return false;
}

/** From the moment it has the record on it may be primary by force alone. */
async function seeThatItAsks(campaign: FleetCampaign, heir: FleetMember): Promise<void> {
  const isSettled = (): boolean => {
    const { group } = heir;
    return group?.conditions.has(groupName, 'handoff_taken_back') === true;
  };
  if (await campaign.until(isSettled, 10_000)) {
    campaign.counter.count('handoff taken back');
    campaign.heirs.delete(heir);
  } else campaign.stale.add(heir);
}

/** A primary that another one took over from: what only it has is given up, and it follows. */
export async function returnStale(campaign: FleetCampaign): Promise<void> {
  const { random, primary } = campaign;
  const stale = [...campaign.stale].filter((each) => each.isServing && each.group);
  if (!primary || stale.length === 0) return;
  const member = random.pick(stale);
  // Then whoever follows it has something that it goes back behind.
  if (campaign.write(member, 20) > 0) await campaign.pass(100);
  if (random.chance(0.6) && (await rewind(campaign, member, primary)) === 'done') return;
  await begin(campaign, member, primary);
}

/** An old primary meets the new one, with something that nobody else has. */
export async function meetStale(campaign: FleetCampaign): Promise<void> {
  const { primary, fleet } = campaign;
  const stale = [...campaign.stale].filter((each) => each.group?.role === 'primary');
  if (!primary || stale.length === 0) return;
  for (const member of stale) {
    campaign.write(member, 20);
    fleet.links.mend(member.name, primary.name);
  }
  await campaign.pass(15_000);
  // What nobody else has may be what counts.
  for (const member of stale) {
    // Without force it is refused.
    for (let attempt = 0; attempt < 3 && member.group?.role === 'diverged'; attempt += 1) {
      await promoteMember(campaign, member);
    }
  }
}
