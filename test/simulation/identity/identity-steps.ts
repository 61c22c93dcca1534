import { isIncomplete } from '../../../src/group/volumes/missing-contents.ts';
import { isScheduledName } from '../../../src/group/catalog/snapshot-schedule.ts';
import { JnbdError } from '../../../src/platform/errors.ts';
import type { FleetSystem } from '../../replicator/fleet.ts';
import { groupName, type IdentityCampaign, type KnownClone } from './identity-campaign.ts';
import { flipAndRepair, flipBeside, verifyWhileWriting } from './identity-verify.ts';

type Step = (campaign: IdentityCampaign) => Promise<void>;

const steps: readonly (readonly [weight: number, step: Step])[] = [
  [10, write],
  [6, makeSnapshot],
  [5, deleteSnapshot],
  [5, makeClone],
  [2, makeView],
  [10, useClones],
  [3, deleteClone],
  [4, crash],
  [2, cutLink],
  [2, scheduled],
  [3, verifyWhileWriting],
  [2, flipAndRepair],
  [2, flipBeside],
];
const weights = steps.reduce((sum, [weight]) => sum + weight, 0);
const snapshotsMax = 4;
const clonesMax = 4;

/** One step, as the seed wants it. */
export async function anyStep(campaign: IdentityCampaign): Promise<void> {
  let draw = campaign.random.int(weights);
  for (const [weight, step] of steps) {
    draw -= weight;
    if (draw >= 0) continue;
    await step(campaign);
    return;
  }
}

async function write(campaign: IdentityCampaign): Promise<void> {
  const { random } = campaign;
  await campaign.write(random.between(1, 30));
  await campaign.pass(random.fraction() * random.pick([1, 20, 500]));
}

async function makeSnapshot(campaign: IdentityCampaign): Promise<void> {
  const { primary, counter } = campaign;
  if (campaign.snapshotsOf(primary).length >= snapshotsMax) return deleteSnapshot(campaign);
  const snapshot = `${groupName}@${campaign.newName('s')}`;
  const made = await campaign.ask(primary, 'snapshot create', { snapshot });
  if (made instanceof JnbdError) throw made;
  counter.count('snapshot made');
  await campaign.write(8);
}

/** The primary keeps what a clone stands over; a follower's clone takes it before the snapshot goes. */
async function deleteSnapshot(campaign: IdentityCampaign): Promise<void> {
  const { random, primary, followers, counter } = campaign;
  const all = campaign.snapshotsOf(primary);
  if (all.length === 0) return;
  const { name, number } = random.pick(all);
  const isOver = (system: FleetSystem): boolean =>
    [...campaign.clones].some(
      (each) => each.kind === 'clone' && each.system === system && each.number === number,
    );
  const deleted = await campaign.ask(primary, 'snapshot delete', {
    snapshot: `${groupName}@${name}`,
  });
  if (isOver(primary)) {
    if (!(deleted instanceof JnbdError)) campaign.fail(`${name} was deleted under a clone`);
    counter.count('snapshot kept for a clone');
    return;
  }
  if (deleted instanceof JnbdError && deleted.code !== 'volume_in_use') throw deleted;
  if (deleted instanceof JnbdError) return;
  counter.count('snapshot deleted');
  if (!followers.some(isOver)) return;
  counter.count('snapshot deleted under a clone elsewhere');
  // What is overwritten from now on is preserved for nobody.
  await campaign.write(random.between(5, 40));
}

async function makeClone(campaign: IdentityCampaign): Promise<void> {
  const { random, systems, counter } = campaign;
  if (campaign.clones.size >= clonesMax) return deleteClone(campaign);
  const system = random.pick(systems);
  const all = campaign.snapshotsOf(system);
  if (all.length === 0) return;
  const { name: snapshot, number } = random.pick(all);
  const name = campaign.newName('c');
  const input = { snapshot: `${groupName}@${snapshot}`, writable: name };
  const made = await campaign.ask(system, 'snapshot export', input);
  // Contents are copied, or it was deleted meanwhile.
  if (made instanceof JnbdError) return;
  campaign.addClone(system, 'clone', name, number);
  counter.count('clone made');
}

async function makeView(campaign: IdentityCampaign): Promise<void> {
  const { random, systems, counter } = campaign;
  if (campaign.clones.size >= clonesMax) return deleteClone(campaign);
  const system = random.pick(systems);
  await campaign.caughtUp();
  const name = campaign.newName('w');
  const input = { group: groupName, at: 'latest', name, writable: true };
  const made = await campaign.ask(system, 'view create', input);
  if (made instanceof JnbdError) throw made;
  const { number } = (made as { view: { number: number } }).view;
  campaign.addClone(system, 'view', name, number);
  counter.count('view made');
}

async function useClones(campaign: IdentityCampaign): Promise<void> {
  const { random, counter } = campaign;
  for (const { kind, disk } of campaign.clones) {
    for (let left = random.between(1, 6); left > 0; left -= 1) {
      const chance = random.int(100);
      if (chance < 50) await disk.write();
      else if (chance < 65) await disk.clear();
      else if (chance < 75) await disk.flush();
      else await disk.check();
    }
    counter.count(`${kind} written`);
    if (random.chance(0.4)) await campaign.write(random.between(1, 8));
  }
  await checkClones(campaign);
}

async function checkClones({ clones, counter }: IdentityCampaign): Promise<void> {
  for (const { system, kind, name, disk } of clones) {
    await disk.check();
    counter.count(`${kind} checked`);
    const clone = system.group().snapshots.clones.find(name);
    if (clone?.state === 'independent') counter.count('clone independent');
  }
}

async function deleteClone(campaign: IdentityCampaign): Promise<void> {
  const { random, clones, counter } = campaign;
  if (clones.size === 0) return;
  const known = random.pick([...clones]);
  const { system, kind, name, disk } = known;
  await disk.check();
  disk.close();
  await campaign.pass(1);
  const full = `${groupName}@${name}`;
  const deleted =
    kind === 'clone'
      ? await campaign.ask(system, 'snapshot delete', { snapshot: full, force: true })
      : await campaign.ask(system, 'view delete', { view: full, force: true });
  if (deleted instanceof JnbdError) throw deleted;
  clones.delete(known);
  counter.count(`${kind} deleted`);
}

/** Somebody is killed, or loses power, and is there again. */
async function crash(campaign: IdentityCampaign): Promise<void> {
  const { random, systems, primary, counter } = campaign;
  const system = random.pick(systems);
  const isPower = random.chance(0.5);
  const own = [...campaign.clones].filter((each) => each.system === system);
  for (const { disk } of own) if (random.chance(0.5)) disk.beginFlush();
  await campaign.pass(random.fraction() * random.pick([0.1, 2, 50]));
  for (const { disk } of own) disk.forgetHost();
  const who = system === primary ? 'primary' : 'follower';
  counter.count(`${who} ${isPower ? 'lost power' : 'killed'}`);
  campaign.note(`${system.host} ${isPower ? 'loses power' : 'is killed'}`);
  countCodes(campaign, system);
  if (isPower) system.losePower();
  else system.kill();
  await campaign.pass(random.pick([1, 100, 3000]));
  await system.start();
  if (system === primary) {
    const isServing = (): boolean => !system.group().refusesWrites;
    await system.until(isServing);
    campaign.history.forgetAfter(system.group().watermarks.newest);
  }
  for (const each of own) await adopt(campaign, each);
}

async function adopt({ counter }: IdentityCampaign, clone: KnownClone): Promise<void> {
  const { system, kind, name, disk } = clone;
  const views = system.group().views;
  if (kind === 'view') await system.until(() => views.find(name)?.state !== 'opening');
  // What a repair brought may show more than is applied again yet.
  else await system.until(() => !isIncomplete(system.group()));
  await disk.adopt();
  counter.count(`${kind} there after a crash`);
}

async function cutLink(campaign: IdentityCampaign): Promise<void> {
  const { random, systems, fleet, counter } = campaign;
  const at = random.between(1, systems.length - 1);
  const [source, follower] = [systems[at - 1]?.host ?? '', systems[at]?.host ?? ''];
  fleet.links.cut(source, follower, random.pick(['broken', 'silent']));
  counter.count('link cut');
  await campaign.write(random.between(5, 40));
  await campaign.pass(random.pick([10, 500]));
  if (random.chance(0.5)) await deleteSnapshot(campaign);
  fleet.links.mend(source, follower);
}

/** A minute goes by, and what is due is made, with as many as are to stay. */
async function scheduled(campaign: IdentityCampaign): Promise<void> {
  const { random, primary, fleet, counter } = campaign;
  const keep = random.between(1, 2);
  const rules = `1m:${keep}`;
  const set = await campaign.ask(primary, 'snapshot schedule', { group: groupName, rules });
  if (set instanceof JnbdError) throw set;
  for (let round = 0; round < 2; round += 1) {
    const before = new Set(autoNames(campaign));
    fleet.clock.jumpWall(61_000);
    await campaign.pass(2500);
    await campaign.write(3);
    const after = autoNames(campaign);
    if (!after.some((name) => !before.has(name)))
      campaign.fail('no snapshot was made as scheduled');
    counter.count('scheduled snapshot made');
    for (const name of before)
      if (!after.includes(name)) counter.count('scheduled snapshot deleted');
    const inUse = campaign.clones.size;
    if (after.length > keep + inUse)
      campaign.fail(`${after.join(', ')} are there, and ${keep} were to stay`);
  }
  const none = { group: groupName, rules: 'none' };
  const ended = await campaign.ask(primary, 'snapshot schedule', none);
  if (ended instanceof JnbdError) throw ended;
}

function autoNames(campaign: IdentityCampaign): string[] {
  const names = campaign.snapshotsOf(campaign.primary).map(({ name }) => name);
  return names.filter(isScheduledName);
}

/** Why a follower received nothing for a while. */
export function countCodes({ counter }: IdentityCampaign, { daemon }: FleetSystem): void {
  for (const { message } of daemon.events)
    if (message.includes('copies what it needs of it first'))
      counter.count('code clone_needs_snapshot');
}
