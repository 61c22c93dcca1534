import { KiB, MiB } from '../../../src/platform/limits.ts';
import type { CrashKind } from '../crash-kind.ts';
import type { FaultRule } from '../faults.ts';
import { calmWeather } from '../simulated-links.ts';
import type { FleetCampaign } from './fleet-campaign.ts';
import { type FleetMember, groupName } from './fleet-member.ts';
import { handOff, meetStale, promote, returnStale, takeBack } from './fleet-roles.ts';
import { loseSource } from './fleet-lost-source.ts';
import { goBack } from './fleet-rollbacks.ts';
import { begin, follow, switchSource } from './fleet-sources.ts';
import { strangeRequest } from './fleet-stranger.ts';

type Step = (campaign: FleetCampaign) => Promise<void> | void;

/** What may happen, and how often, relative to each other. */
const steps: readonly (readonly [weight: number, step: Step])[] = [
  [24, write],
  [8, passTime],
  [10, die],
  [12, live],
  [7, cutLink],
  [6, slowLink],
  [9, mendLink],
  [5, changeWeather],
  [6, changeVolumes],
  [4, suspendOrResume],
  [6, switchSource],
  [4, promote],
  [4, handOff],
  [6, returnStale],
  [3, meetStale],
  [1, dropBranch],
  [4, failDisk],
  [3, followAnew],
  [3, strangeRequest],
  [3, configure],
  [1, fillJournal],
  [1, fillWhileCopying],
  [2, failCopy],
  [1, jumpClock],
];
const weights = steps.reduce((sum, [weight]) => sum + weight, 0);

/** One step, as the seed wants it. */
export async function anyStep(campaign: FleetCampaign): Promise<void> {
  if (campaign.synchronous?.chance(0.15)) await changeWaiting(campaign);
  if (campaign.rare.chance(0.02)) await takeBack(campaign);
  if (campaign.rare.chance(0.06)) await loseSource(campaign);
  await goBack(campaign);
  let draw = campaign.random.int(weights);
  for (const [weight, step] of steps) {
    draw -= weight;
    if (draw >= 0) continue;
    await step(campaign);
    return;
  }
}

async function write(campaign: FleetCampaign): Promise<void> {
  const { random, primary } = campaign;
  if (primary) campaign.write(primary, random.pick([1, 10, 60, 200]));
  // Whoever was left behind without knowing may go on for a while.
  for (const stale of campaign.stale) {
    if (random.chance(0.5) && stale.group?.role === 'primary') campaign.write(stale, 20);
  }
  await campaign.pass(random.fraction() * random.pick([1, 10, 60]));
}

async function passTime(campaign: FleetCampaign): Promise<void> {
  await campaign.pass(campaign.random.pick([5, 50, 500, 500, 3000]));
}

async function die(campaign: FleetCampaign): Promise<void> {
  const { random } = campaign;
  const member = random.pick(campaign.members);
  const kind = random.pick<CrashKind>(['kill', 'kill', 'power', 'power', 'stop']);
  if (random.chance(0.2) && member.isServing) {
    member.system.machine.faults.add(anyDeath(campaign));
    await campaign.pass(random.pick([5, 50]));
    member.system.machine.faults.clear();
    return;
  }
  await campaign.crash(member, kind);
}

function anyDeath({ random }: FleetCampaign): FaultRule {
  const role = random.pick(['any', 'segment', 'volume', 'checkpoint', 'catalog'] as const);
  return {
    kind: 'death',
    operation: random.pick(['write', 'write', 'sync', 'entry', 'sync_directory', 'read'] as const),
    ...(role === 'any' ? {} : { role }),
    nth: random.between(1, random.pick([2, 10])),
  };
}

async function live(campaign: FleetCampaign): Promise<void> {
  const { random } = campaign;
  const dead = campaign.members.filter(({ isAlive }) => !isAlive);
  if (dead.length === 0) return;
  const member = random.pick(dead);
  if (random.chance(0.1)) member.system.machine.faults.add(anyDeath(campaign));
  await campaign.start(member);
}

function twoOf({ random, members }: FleetCampaign): [FleetMember, FleetMember] {
  const one = random.pick(members);
  return [one, random.pick(members.filter((each) => each !== one))];
}

function cutLink(campaign: FleetCampaign): void {
  const [a, b] = twoOf(campaign);
  const how = campaign.random.pick(['broken', 'silent'] as const);
  campaign.note(`nothing passes between ${a.name} and ${b.name} (${how})`);
  campaign.fleet.links.cut(a.name, b.name, how);
}

function slowLink(campaign: FleetCampaign): void {
  const [a, b] = twoOf(campaign);
  const milliseconds = campaign.random.pick([20, 200, 2000]);
  campaign.fleet.links.delay(a.name, b.name, milliseconds);
}

function mendLink(campaign: FleetCampaign): void {
  const { links } = campaign.fleet;
  const { members } = campaign;
  const bad = members.flatMap((a) =>
    members.filter((b) => a.name < b.name && links.isTroubled(a.name, b.name)).map((b) => [a, b]),
  );
  if (bad.length === 0) return;
  const [a, b] = campaign.random.pick(bad);
  if (a && b) links.mend(a.name, b.name);
}

function changeWeather({ random, fleet }: FleetCampaign): void {
  if (random.chance(0.4)) {
    fleet.links.weather = calmWeather;
    return;
  }
  fleet.links.weather = {
    ...calmWeather,
    breaks: random.pick([0, 2, 20]),
    lostRequests: random.pick([0, 0, 20]),
    lostAnswers: random.pick([0, 5, 50]),
    stalls: random.pick([0, 0, 5]),
    garbles: random.pick([0, 0, 30]),
  };
}

/** Volumes come, grow and go, in their place among the writes. */
async function changeVolumes(campaign: FleetCampaign): Promise<void> {
  const { random, primary } = campaign;
  const group = primary?.group;
  if (!primary || group?.state !== 'normal') return;
  const allowed = ['state_refuses', 'shutting_down', 'journal_full'] as const;
  const names = [...group.volumes.keys()];
  const what = random.pick(['create', 'grow', 'delete']);
  if (what === 'create' || names.length === 0) {
    if (names.length >= 4) return;
    const size = random.pick([64 * KiB, 256 * KiB + 512, 512 * KiB]);
    const volume = `${groupName}/${campaign.newVolume()}`;
    await campaign.verb(primary, 'volume create', { volume, size }, allowed);
    return;
  }
  const name = random.pick(names);
  const volume = `${groupName}/${name}`;
  if (what === 'grow') {
    const size = (group.volumes.get(name)?.catalog.sizeBytes ?? 0) + 512 * random.between(1, 200);
    if (size > MiB) return;
    await campaign.verb(primary, 'volume resize', { volume, size }, allowed);
    return;
  }
  if (names.length < 2) return;
  primary.dropHosts();
  await campaign.verb(primary, 'volume delete', { volume, force: true }, [
    ...allowed,
    'volume_in_use',
  ]);
}

async function suspendOrResume(campaign: FleetCampaign): Promise<void> {
  const { random } = campaign;
  const following = campaign.serving.filter(({ group }) => group?.follow.state !== undefined);
  if (following.length === 0) return;
  const member = random.pick(following);
  const isSuspended = member.group?.follow.state?.isSuspended ?? false;
  const verb = isSuspended ? 'resume' : 'suspend';
  await campaign.verb(member, verb, { group: groupName }, ['state_refuses']);
}

/** Somebody's disk fails now and then, for a while. */
async function failDisk(campaign: FleetCampaign): Promise<void> {
  const { random, serving } = campaign;
  if (serving.length === 0) return;
  const member = random.pick(serving);
  campaign.troubled.add(member);
  const { faults } = member.system.machine;
  const times = random.pick([1, 3, 100]);
  const nth = random.between(1, random.pick([1, 4]));
  const rules: FaultRule[] = [
    { kind: 'read_error', operation: 'read', role: 'segment', nth, times },
    { kind: 'read_error', operation: 'read', role: 'segment', nth, times },
    { kind: 'read_error', operation: 'read', role: 'volume', nth, times },
    { kind: 'no_space', operation: 'write', role: 'volume', nth, times },
    { kind: 'write_error', operation: 'write', role: 'catalog', nth, times },
    { kind: 'sync_error', operation: 'sync', role: 'catalog', nth, times },
    { kind: 'slow', operation: 'sync', role: 'segment', nth, times, milliseconds: 300 },
  ];
  faults.add(random.pick(rules));
  if (campaign.primary) campaign.write(campaign.primary, 60);
  await campaign.pass(random.pick([20, 200, 2000]));
  faults.clear();
}

/** A copy that begins again from nothing. */
async function followAnew(campaign: FleetCampaign): Promise<void> {
  const { random } = campaign;
  const copies = campaign.serving.filter(({ group }) => group?.role === 'secondary');
  if (copies.length === 0) return;
  const member = random.pick(copies);
  if (random.chance(0.5)) {
    await campaign.verb(member, 'unfollow', { group: groupName }, ['state_refuses']);
    if (random.chance(0.5)) return;
  }
  await begin(campaign, member);
}

async function dropBranch(campaign: FleetCampaign): Promise<void> {
  for (const member of campaign.serving) {
    const [branch] = member.group ? member.system.status(groupName).branches : [];
    if (!branch) continue;
    const input = { group: groupName, branch: branch.name, force: true };
    await campaign.verb(member, 'branch delete', input);
  }
}

async function configure(campaign: FleetCampaign): Promise<void> {
  const { random } = campaign;
  const having = campaign.serving.filter(({ group }) => group?.state === 'normal');
  if (having.length === 0) return;
  await campaign.verb(random.pick(having), 'group configure', {
    group: groupName,
    ...random.pick([
      { release: 'applied' },
      { release: 'received' },
      { copyRate: '1MiB' },
      { copyRate: 'unlimited' },
      { onFull: 'throttle' },
      { onFull: 'suspend' },
    ]),
  });
}

/** Whom hosts wait for, for how long, and what then; or whether they wait for one follower. */
async function changeWaiting(campaign: FleetCampaign): Promise<void> {
  const { synchronous: random, primary } = campaign;
  if (!random || primary?.group?.state !== 'normal') return;
  if (random.chance(0.5)) {
    await campaign.verb(primary, 'group configure', {
      group: groupName,
      ...random.pick([
        { syncWait: 'all' },
        { syncWait: 1 },
        { syncTimeout: '200ms' },
        { syncTimeout: '2s' },
        { onSyncLoss: 'degrade' },
        { onSyncLoss: 'stall' },
      ]),
    });
    return;
  }
  const followers = campaign.serving.filter(
    ({ sourceSystemId }) => sourceSystemId === primary.systemId,
  );
  if (followers.length > 0) await follow(campaign, random.pick(followers), primary);
}

/** A copy begins where what is to be copied cannot be read. */
async function failCopy(campaign: FleetCampaign): Promise<void> {
  const { random, primary } = campaign;
  const copies = campaign.serving.filter(
    ({ group, isJournalOnly }) => group?.role === 'secondary' && !isJournalOnly,
  );
  if (!primary || copies.length === 0) return;
  // Then the journal alone does not bring a follower.
  primary.group?.hurryApply();
  await campaign.pass(100);
  campaign.troubled.add(primary);
  const { faults } = primary.system.machine;
  faults.add({ kind: 'read_error', operation: 'read', role: 'volume', times: 3 });
  await begin(campaign, random.pick(copies), primary);
  await campaign.pass(100);
  faults.clear();
}

/** Somebody who has just begun to copy is left behind. */
async function fillWhileCopying(campaign: FleetCampaign): Promise<void> {
  const { random, primary } = campaign;
  const copies = campaign.serving.filter(({ group }) => group?.role === 'secondary');
  if (!primary || copies.length === 0) return;
  await campaign.verb(primary, 'group configure', { group: groupName, onFull: 'suspend' });
  primary.group?.hurryApply();
  await campaign.pass(100);
  const member = random.pick(copies);
  if ((await begin(campaign, member, primary)) !== 'done') return;
  await campaign.pass(random.pick([0, 5]));
  campaign.fleet.links.cut(member.name, primary.name, 'silent');
  await fillJournal(campaign);
}

/** More than the journal has room for, while somebody may be away. */
async function fillJournal(campaign: FleetCampaign): Promise<void> {
  const { random } = campaign;
  for (let round = 0; round < 40; round += 1) {
    const { primary } = campaign;
    if (!primary) return;
    campaign.write(primary, 40, { sizeBytesMax: 128 * KiB, clears: 0 });
    await campaign.pass(random.fraction() * 20);
  }
}

/** Segments made from now on count their times from somewhere else. */
function jumpClock({ random, fleet }: FleetCampaign): void {
  fleet.clock.jumpWall(random.pick([86_400_000 * 40, 86_400_000 * 40, 1000, -1000]));
}
