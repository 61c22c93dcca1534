import { standingRollback } from '../../../src/group/catalog/rollback.ts';
import type { Group } from '../../../src/group/order/group.ts';
import type { SimulatedRandom } from '../simulated-random.ts';
import { isComplete, readVolume } from './fleet-contents.ts';
import { describe, type FleetCampaign } from './fleet-campaign.ts';
import { HistoryImage } from './fleet-history.ts';
import { type FleetMember, groupName } from './fleet-member.ts';
import { goingBackCodes, promoteMember } from './fleet-roles.ts';

/** More than the engine waits until it tries again what it could not do. */
const patienceMilliseconds = 200_000;

/** Some keep their past, and others have nothing to go back with. */
export async function keepPast(campaign: FleetCampaign): Promise<void> {
  const { past } = campaign;
  for (const member of past ? campaign.serving : [])
    if (past?.chance(0.7)) await configure(campaign, member, '1h');
}

async function configure(
  campaign: FleetCampaign,
  member: FleetMember,
  history: '1h' | 'off',
): Promise<void> {
  if (member.isJournalOnly || member.group?.state !== 'normal') return;
  const input = { group: groupName, history };
  await campaign.verb(member, 'group configure', input, ['state_refuses', 'shutting_down']);
}

/** In campaigns that keep their past: volumes go back in it, by command or with a promotion. */
export async function goBack(campaign: FleetCampaign): Promise<void> {
  const { past } = campaign;
  if (!past) return;
  if (past.chance(0.08)) await keepPast(campaign);
  if (past.chance(0.12)) await rollBack(campaign, past);
  if (past.chance(0.05)) await promoteBack(campaign, past);
  const { primary } = campaign;
  if (primary && isStopped(primary) && past.chance(0.2)) await leave(campaign, primary);
}

/** A number that the window reaches and that is in the volumes, which are not there themselves. */
function positionIn({ views, watermarks }: Group, past: SimulatedRandom): number | undefined {
  const { from = Number.POSITIVE_INFINITY } = views.history;
  return from < watermarks.applied ? past.between(from, watermarks.applied - 1) : undefined;
}

async function rollBack(campaign: FleetCampaign, past: SimulatedRandom): Promise<void> {
  const { primary } = campaign;
  const group = primary?.group;
  if (!primary || group?.state !== 'normal') return;
  const at = positionIn(group, past);
  if (at === undefined) return;
  const one = past.pick([...group.volumes.keys(), '']);
  const target = past.chance(0.3) && one !== '' ? `${groupName}/${one}` : groupName;
  campaign.counter.count('rollback asked for');
  const input = { target, at: String(at), force: true };
  const patience = past.pick([2, 20, 200, 5000]);
  const outcome = await campaign.ask(primary, 'volume rollback', input, goingBackCodes, patience);
  if (outcome === 'done') campaign.counter.count('rollback done');
  if (outcome === 'late') campaign.counter.count('rollback that goes on');
}

/** A failover to what was before something went wrong, which is everywhere by now. */
async function promoteBack(campaign: FleetCampaign, past: SimulatedRandom): Promise<void> {
  const heirs = campaign.serving.filter(
    (each) =>
      each.group?.role === 'secondary' &&
      each.group.state === 'normal' &&
      !each.isJournalOnly &&
      isComplete(each) &&
      positionIn(each.group, past) !== undefined,
  );
  if (heirs.length === 0) return;
  const heir = past.pick(heirs);
  const at = heir.group && positionIn(heir.group, past);
  if (await promoteMember(campaign, heir, at)) campaign.counter.count('promotion that goes back');
}

function isStopped({ group }: FleetMember): boolean {
  return group?.conditions.has(groupName, 'rollback_stopped') === true;
}

/** What cannot go on here, with no past of its own, stays as it is: each byte as before, or as it was to become. */
async function leave(campaign: FleetCampaign, primary: FleetMember): Promise<void> {
  const { history } = campaign;
  const standing = standingRollback(primary.group?.catalog.volumes ?? []);
  if (!standing) return;
  const input = { target: groupName, at: 'latest', force: true };
  const outcome = await campaign.verb(primary, 'volume rollback', input, ['state_refuses']);
  const { group } = primary;
  // Who died meanwhile may have said so.
  if (outcome !== 'refused') history.leave(standing.plan);
  if (outcome !== 'done' || !group || standingRollback(group.catalog.volumes)) return;
  campaign.counter.count('rollback left halfway');
  const { lineage, number } = group.catalog;
  const before = new HistoryImage(history);
  before.moveTo(lineage, number - 1);
  for (const { catalog } of group.volumes.values()) {
    const { id, name, sizeBytes } = catalog;
    if (!standing.volumes.includes(id) || catalog.journalOnly) continue;
    const found = await readVolume(campaign, primary, name, sizeBytes);
    if (!found) continue;
    const targets = before.goingBack(id).map((plan) => history.target(lineage, plan).get(id));
    const possible = [before.volumes.get(id), ...targets];
    const at = possible.includes(undefined)
      ? -1
      : found.findIndex((byte, offset) => possible.every((each) => (each?.[offset] ?? 0) !== byte));
    if (at >= 0)
      campaign.fail(
        `${primary.name}: volume ${name}, left halfway to update ${standing.to}, is at ${at} neither what it was nor what it was to become`,
      );
    history.leftWith(standing.plan, id, found);
  }
}

/** What is on its way ends, or stays as it is; from now on nobody keeps more than is asked for. */
export async function finishGoingBack(
  campaign: FleetCampaign,
  primary: FleetMember,
): Promise<void> {
  if (!campaign.past) return;
  const isOver = (): boolean =>
    standingRollback(primary.group?.catalog.volumes ?? []) === undefined || isStopped(primary);
  if (!(await campaign.until(isOver, patienceMilliseconds)))
    campaign.fail(`a rollback does not go on: ${describe(primary)}`);
  if (isStopped(primary)) await leave(campaign, primary);
  for (const member of campaign.serving) await configure(campaign, member, 'off');
}
