import { forkOf, type Lineage } from '../../../src/group/catalog/lineage.ts';
import type { ErrorCode } from '../../../src/platform/errors.ts';
import { type FleetCampaign, peerCodes, type VerbOutcome } from './fleet-campaign.ts';
import { type FleetMember, groupName } from './fleet-member.ts';

/** What a source may say that another command has to mend. */
const historyCodes: readonly ErrorCode[] = [
  'diverged',
  'contents_diverged',
  'generation_newer',
  'position_released',
];

/** Longer than it takes to begin a journal anew. */
const slowMilliseconds = 4000;

/** Whether `member` gets what `source` has, over whomever. */
function isBelow(campaign: FleetCampaign, source: FleetMember, member: FleetMember): boolean {
  let at: FleetMember | undefined = source;
  for (let hops = 0; at && hops < campaign.members.length; hops += 1) {
    if (at === member) return true;
    const { sourceSystemId }: FleetMember = at;
    at = campaign.members.find((each) => each.systemId === sourceSystemId);
  }
  return false;
}

/** Whom it may follow without a loop. */
function sourcesFor(campaign: FleetCampaign, member: FleetMember): FleetMember[] {
  return campaign.serving.filter(
    (each) =>
      each !== member &&
      each.group?.state === 'normal' &&
      !campaign.stale.has(each) &&
      !isBelow(campaign, each, member),
  );
}

export async function allow(
  campaign: FleetCampaign,
  source: FleetMember,
  member: FleetMember,
): Promise<void> {
  if (!source.group) return;
  const input = { group: groupName, secondary: member.name };
  await campaign.verb(source, 'secondary allow', input, ['group_not_found', 'group_state']);
}

/** Follows `source`, which is told to let it; what was followed before is left where that says yes. */
export async function follow(
  campaign: FleetCampaign,
  member: FleetMember,
  source: FleetMember,
): Promise<VerbOutcome> {
  const { random } = campaign;
  const isNew = member.group === undefined;
  if (random.chance(0.8)) await allow(campaign, source, member);
  const input = {
    group: groupName,
    from: source.system.url,
    pace: random.pick(['immediate', 'immediate', 'interval:50ms', 'adaptive']),
    links: random.pick([1, 2, 3]),
    ...(member.isJournalOnly ? { journalOnly: true } : {}),
    ...campaign.synchronous?.pick([{}, { sync: true }, { sync: true }, { noSync: true }]),
    ...(isNew ? { journalSize: member.isJournalOnly ? '256MiB' : '64MiB' } : {}),
  };
  const allowed: ErrorCode[] = [
    ...peerCodes,
    ...historyCodes,
    'follower_not_allowed',
    'follow_loop',
    'state_refuses',
    'disk_full',
  ];
  if (isNew) member.isUndecided = true;
  let outcome = await campaign.verb(member, 'follow', input, allowed);
  if (outcome === 'refused' && campaign.lastRefusal === 'follower_not_allowed') {
    await allow(campaign, source, member);
    outcome = await campaign.verb(member, 'follow', input, allowed);
  }
  if (outcome !== 'dead') member.isUndecided = false;
  if (isNew && outcome === 'done') await copySlowly(campaign, member);
  return outcome;
}

/** In some campaigns: so that most things happen while contents are on their way. */
export async function copySlowly(campaign: FleetCampaign, source: FleetMember): Promise<void> {
  if (!campaign.areCopiesSlow) return;
  const input = { group: groupName, copyRate: '64KiB' };
  await campaign.verb(source, 'group configure', input, ['state_refuses', 'shutting_down']);
}

/** Deletes what there is, and copies everything anew. */
export async function begin(
  campaign: FleetCampaign,
  member: FleetMember,
  wanted?: FleetMember,
): Promise<VerbOutcome> {
  const { random } = campaign;
  const sources = sourcesFor(campaign, member);
  const source = wanted ?? (sources.length > 0 ? random.pick(sources) : undefined);
  if (!source) return 'refused';
  if (member.group) {
    member.dropHosts();
    member.isUndecided = true;
    const input = { group: groupName, force: true };
    // It may be in the middle of beginning its journal anew, or of writing what a volume was.
    const codes: ErrorCode[] = campaign.past
      ? ['state_refuses', 'volume_in_use']
      : ['state_refuses'];
    const deleted = await campaign.verb(member, 'group delete', input, codes);
    if (deleted === 'refused') member.isUndecided = false;
    else campaign.protection.gaveUp(member);
    if (deleted !== 'done') return deleted;
    member.forget();
    member.isUndecided = false;
    campaign.stale.delete(member);
    campaign.heirs.delete(member);
  }
  return follow(campaign, member, source);
}

/** Goes back to where its history and the source's part, and on from there. */
export async function rewind(
  campaign: FleetCampaign,
  member: FleetMember,
  source: FleetMember,
): Promise<VerbOutcome> {
  member.dropHosts();
  await allow(campaign, source, member);
  const compare = campaign.random.chance(0.5);
  const input = { group: groupName, from: source.system.url, rewind: true, compare };
  const before = tailOf(member);
  const removed = await removeMeanwhile(campaign, member);
  member.isUndecided = true;
  const outcome = await campaign.verb(member, 'follow', input, [
    ...peerCodes,
    ...historyCodes,
    'state_refuses',
    'confirmation_needed',
    'follow_loop',
    'record_unreadable',
    'disk_full',
  ]);
  if (outcome !== 'dead') member.isUndecided = false;
  if (outcome === 'done') {
    campaign.counter.count('rewind');
    checkBranch(campaign, member, before);
    campaign.stale.delete(member);
    campaign.heirs.delete(member);
    if (removed) await restartBehindRemoval(campaign, member);
  }
  if (removed) campaign.fleet.links.mend(member.name, removed.name);
  return outcome;
}

/**
 * Somebody who follows it is removed, and hears of it only when the journal has begun anew: the command goes on in
 * another group than it began in (SAFETY 12). Undefined: nobody is.
 */
async function removeMeanwhile(
  campaign: FleetCampaign,
  member: FleetMember,
): Promise<FleetMember | undefined> {
  const { rare, fleet } = campaign;
  const below = campaign.serving.filter((each) => each.sourceSystemId === member.systemId);
  if (below.length === 0) return undefined;
  const follower = rare.pick(below);
  await allow(campaign, member, follower);
  fleet.links.mend(member.name, follower.name);
  fleet.links.delay(member.name, follower.name, slowMilliseconds);
  const input = { group: groupName, secondary: follower.name };
  await campaign.ask(member, 'secondary remove', input, ['group_state'], 0);
  return follower;
}

/** What the command left on the disk is what the next start finds. */
async function restartBehindRemoval(campaign: FleetCampaign, member: FleetMember): Promise<void> {
  campaign.counter.count('follower removed while a journal begins anew');
  await campaign.pass(2 * slowMilliseconds + 100);
  await campaign.crash(member, 'kill');
  await campaign.start(member);
}

interface Tail {
  readonly lineage: Lineage;
  readonly released: number;
  readonly newest: number;
}

function tailOf({ group }: FleetMember): Tail | undefined {
  if (!group || group.catalog.journalOnly) return undefined;
  const { released, newest } = group.watermarks;
  return { lineage: group.catalog.lineage, released, newest };
}

/** What it had behind the fork, and its journal still had, is in a branch (SAFETY 19). */
function checkBranch(campaign: FleetCampaign, member: FleetMember, before: Tail | undefined): void {
  const { group } = member;
  if (!before || !group) return;
  const { lineage, released, newest } = before;
  const fork = forkOf(lineage, newest, group.catalog.lineage, group.watermarks.newest);
  if (newest <= Math.max(fork, released)) return;
  const { branches } = member.system.status(groupName);
  if (branches.some((branch) => branch.newest >= newest && branch.fork <= fork)) {
    campaign.counter.count('branch');
    return;
  }
  const saved = branches.map((branch) => `${branch.fork + 1} to ${branch.newest}`);
  campaign.fail(
    `${member.name} went back from ${newest} to ${fork}, and has branches of ${saved.join(', ') || 'nothing'}`,
  );
}

/** Follows another system from now on, or one that cannot be followed. */
export async function switchSource(campaign: FleetCampaign): Promise<void> {
  const { random } = campaign;
  const serving = campaign.serving.filter(({ group }) => group?.role !== 'primary');
  if (serving.length === 0) return;
  const member = random.pick(serving);
  const others = campaign.serving.filter((each) => each !== member && each.group);
  const good = sourcesFor(campaign, member);
  const from = random.chance(0.15) ? others : good;
  if (from.length === 0) return;
  await follow(campaign, member, random.pick(from));
}
