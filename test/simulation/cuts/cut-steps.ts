import { calmWeather } from '../simulated-links.ts';
import type { CutCampaign } from './cut-campaign.ts';
import { cutName, type CutNode } from './cut-system.ts';

/** Somebody takes over after three seconds and more. */
const takeoverMilliseconds = 6000;
const targetMilliseconds = 2000;

const steps = {
  nothing: async () => undefined,
  weather: async (campaign) => changeWeather(campaign),
  distance: changeDistances,
  far: moveControllerAway,
  slow: async (campaign) => slowSyncs(campaign),
  member: restartMember,
  secondary: restartSecondary,
  both: async (campaign) => {
    await restartMember(campaign);
    await restartSecondary(campaign);
  },
  silence: cutOff,
  takeover: letAnotherTakeOver,
  halfway: stopHalfway,
  rival: markElsewhere,
} satisfies Record<string, (campaign: CutCampaign) => Promise<void>>;

const choices: readonly (keyof typeof steps)[] = [
  'nothing',
  'weather',
  'weather',
  'distance',
  'distance',
  'far',
  'far',
  'slow',
  'member',
  'secondary',
  'both',
  'silence',
  'silence',
  'takeover',
  'halfway',
  'rival',
  'rival',
  'rival',
];

/** Something goes wrong, or several things that went wrong go on together. */
export async function stepCuts(campaign: CutCampaign): Promise<void> {
  const { random, watch } = campaign;
  const what = random.pick(choices);
  campaign.note(what);
  await steps[what](campaign);
  await campaign.pass(random.pick([20, 60, 150]));
  if (random.chance(0.3)) return;
  // Markers are made again: what goes wrong next does so in the midst of them.
  const { committed } = watch;
  await campaign.until(() => watch.committed > committed, takeoverMilliseconds);
}

function changeWeather({ random, fleet }: CutCampaign): void {
  fleet.links.weather = {
    ...calmWeather,
    breaks: random.pick([0, 0, 10]),
    lostRequests: random.pick([0, 0, 20]),
    lostAnswers: random.pick([0, 0, 20]),
    repeats: random.pick([0, 100]),
  };
}

/** Of some, longer than a round may take. */
async function changeDistances(campaign: CutCampaign): Promise<void> {
  const { random, fleet, nodes, pairs } = campaign;
  const members = pairs.map(({ primary }) => primary);
  for (let count = random.between(1, 2); count > 0; count -= 1) {
    const [a, b] = [random.pick(members), random.pick([...members, random.pick(nodes)])];
    if (a !== b) fleet.links.delay(a.name, b.name, random.pick([5, 20, 40, 60, 120]));
  }
  await campaign.pass(random.fraction() * random.pick([100, 2000]));
  if (random.chance(0.3)) return;
  for (const a of nodes)
    for (const b of nodes) if (a.name < b.name) fleet.links.mend(a.name, b.name);
}

/**
 * Rounds go on while the ways to and from the one that makes them take their time: some within what a member holds
 * for, some so long that members let go before the last marker is numbered.
 */
async function moveControllerAway(campaign: CutCampaign): Promise<void> {
  const { random, fleet, pairs, watch } = campaign;
  const members = pairs.map(({ primary }) => primary);
  const { controller = random.pick(members) } = watch;
  const others = members.filter((node) => node !== controller);
  const milliseconds = random.pick([8, 16, 24, 60, 90, 120]);
  const slow = random.chance(0.5) ? others : [random.pick(others)];
  for (const other of slow) fleet.links.delay(controller.name, other.name, milliseconds);
  await campaign.pass(6 * milliseconds + random.fraction() * 1000);
  for (const other of slow) fleet.links.mend(controller.name, other.name);
}

async function restartMember(campaign: CutCampaign): Promise<void> {
  const { random, pairs, watch } = campaign;
  const { primary } = random.pick(pairs);
  const { controller } = watch;
  const node = controller && random.chance(0.5) ? controller : primary;
  await restart(campaign, node);
  // Nobody waits until another one takes over.
  if (random.chance(0.6)) await mark(campaign, random.pick(pairs).primary);
}

async function restartSecondary(campaign: CutCampaign): Promise<void> {
  await restart(campaign, campaign.random.pick(campaign.pairs).secondary);
}

async function restart(campaign: CutCampaign, node: CutNode): Promise<void> {
  const { random } = campaign;
  campaign.crash(node, random.chance(0.4));
  await campaign.pass(random.fraction() * random.pick([100, 100, 100, 4500]));
  await campaign.restart(node);
}

/** In the midst of giving all of them a target. */
async function stopHalfway(campaign: CutCampaign): Promise<void> {
  const { watch, random, pairs } = campaign;
  if (!(await campaign.until(() => watch.leftOut !== undefined, targetMilliseconds))) return;
  const node = watch.leftOut ?? random.pick(pairs).secondary;
  await restart(campaign, random.chance(0.7) ? node : random.pick(pairs).secondary);
}

/** From all other systems; its hosts reach it. */
async function cutOff(campaign: CutCampaign): Promise<void> {
  const { random, nodes, pairs, fleet, counter } = campaign;
  const node = random.pick([random.pick(pairs).primary, random.pick(nodes)]);
  const others = random.chance(0.5) ? nodes : [random.pick(nodes)];
  const how = random.pick(['broken', 'silent'] as const);
  counter.count('system cut off');
  for (const other of others) {
    if (other !== node) fleet.links.cut(node.name, other.name, how);
  }
  await campaign.pass(random.fraction() * 200);
  for (const other of others) fleet.links.mend(node.name, other.name);
}

/** The one that makes the markers does not know that nobody hears of them. */
async function letAnotherTakeOver(campaign: CutCampaign): Promise<void> {
  const { random, pairs, watch, fleet } = campaign;
  const members = pairs.map(({ primary }) => primary);
  const { controller = random.pick(members) } = watch;
  const others = members.filter((node) => node !== controller);
  const other = random.pick(others);
  const how = random.pick(['broken', 'silent'] as const);
  fleet.links.cut(controller.name, other.name, how);
  await campaign.pass(3000 + random.fraction() * 3000);
  fleet.links.mend(controller.name, other.name);
  await campaign.pass(random.fraction() * 1500);
}

/** Somebody asks another one for a marker, which does not reach the one that makes them. */
async function markElsewhere(campaign: CutCampaign): Promise<void> {
  const { random, pairs, watch, fleet } = campaign;
  const members = pairs.map(({ primary }) => primary);
  const { controller = random.pick(members) } = watch;
  const rival = random.pick(members.filter((node) => node !== controller));
  if (!rival.isUp) return;
  fleet.links.cut(rival.name, controller.name, 'broken');
  const asked = campaign.ask(rival, 'cut mark', { cut: cutName });
  await campaign.pass(random.fraction() * 4);
  fleet.links.mend(rival.name, controller.name);
  await campaign.until(() => asked.isOver || !rival.isUp);
  noteMark(campaign, rival, asked.outcome);
}

async function mark(campaign: CutCampaign, node: CutNode): Promise<void> {
  const asked = campaign.ask(node, 'cut mark', { cut: cutName });
  await campaign.until(() => asked.isOver || !node.isUp);
  noteMark(campaign, node, asked.outcome);
}

function noteMark(
  campaign: CutCampaign,
  node: CutNode,
  outcome: ReturnType<CutCampaign['ask']>['outcome'],
): void {
  if (outcome && 'value' in outcome) {
    campaign.counter.count('marker made by hand');
    campaign.note(`${node.name} was asked for a marker, and there is one`);
    return;
  }
  campaign.counter.count('marker refused');
  const error = outcome?.error;
  const text = error instanceof Error ? error.message : 'it died';
  campaign.note(`${node.name} was asked for a marker: ${text}`);
}

function slowSyncs({ random, counter, pairs, nodes }: CutCampaign): void {
  const { system } = random.pick([random.pick(pairs).primary, random.pick(nodes)]);
  counter.count('sync slow');
  system.machine.faults.add({
    kind: 'slow',
    operation: 'sync',
    role: 'segment',
    nth: 1,
    times: random.between(1, 5),
    milliseconds: random.pick([10, 45, 90]),
  });
}
