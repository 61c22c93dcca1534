import { must } from '../../../src/platform/assert.ts';
import { JnbdError } from '../../../src/platform/errors.ts';
import { calmWeather } from '../simulated-links.ts';
import type { CutCampaign } from './cut-campaign.ts';
import { cutList, cutName, type CutNode, cutVolumeBytes } from './cut-system.ts';

const promotionsMax = 30;

/** The primaries are lost, and their secondaries take over at one marker. */
export async function endCuts(campaign: CutCampaign): Promise<void> {
  campaign.note('the end');
  const { pairs, nodes, random, watch, fleet } = campaign;
  for (const { system } of nodes) system.machine.faults.clear();
  fleet.links.weather = calmWeather;
  for (const a of nodes)
    for (const b of nodes) if (a.name < b.name) fleet.links.mend(a.name, b.name);
  const before = watch.targets();
  const isMoving = await campaign.until(() =>
    watch.targets().every((target, at) => target !== before[at]),
  );
  if (!isMoving) campaign.fail(`targets are ${watch.targets().join(', ')}, and stay there`);
  if (random.chance(0.5)) fleet.links.weather = { ...calmWeather, breaks: 10, lostAnswers: 20 };
  for (const { primary } of pairs) {
    await campaign.pass(random.fraction() * 20);
    campaign.crash(primary, random.chance(0.5));
  }
  campaign.hosts.stop();
  await campaign.pass(random.pick([0, 50, 3000]));
  await promote(campaign);
  await checkPromoted(campaign);
  campaign.counter.count('cut promoted');
}

/** As somebody does who repeats the command until it is done, while systems die. */
async function promote(campaign: CutCampaign): Promise<void> {
  const { random, pairs, counter } = campaign;
  let deaths = random.pick([0, 0, 1, 2]);
  let mayBePromoted = false;
  for (let attempt = 0; attempt < promotionsMax; attempt += 1) {
    const { secondary } = random.pick(pairs);
    const asked = campaign.ask(secondary, 'cut promote', { cut: cutName, targets: cutList });
    if (deaths > 0) {
      deaths -= 1;
      await campaign.pass(random.fraction() * 30);
      const victim = random.pick(pairs).secondary;
      campaign.crash(victim, random.chance(0.4));
      counter.count('killed in a promotion');
      await campaign.pass(random.fraction() * 50);
      await campaign.restart(victim);
    }
    await campaign.until(() => asked.isOver || !secondary.isUp, 400_000);
    const { outcome } = asked;
    if (outcome && 'value' in outcome) return;
    const code = outcome?.error instanceof JnbdError ? outcome.error.code : 'it died';
    campaign.note(`cut promote at ${secondary.name}: ${String(outcome?.error)}`);
    counter.count('promotion repeated');
    const isPromoted = pairs.some((pair) => pair.secondary.group?.role === 'primary');
    mayBePromoted ||= code === 'cut_half_promoted' || !outcome;
    if (isPromoted && !mayBePromoted) campaign.fail(`some are primary, and it says ${code}`);
    await campaign.pass(500);
  }
  campaign.fail('the secondaries cannot be promoted');
}

async function checkPromoted(campaign: CutCampaign): Promise<void> {
  const { pairs, ledger } = campaign;
  const promoted = pairs.map(({ secondary: { name, promises } }) =>
    must(promises?.holds[0]?.promotion, `${name} was promoted`),
  );
  const ids = new Set(promoted.map(({ epoch, sequence }) => `${epoch}.${sequence}`));
  if (ids.size > 1) campaign.fail(`they are promoted at ${[...ids].join(', ')}`);
  const numbers = promoted.map(({ number }) => number);
  const wrong = ledger.inconsistency(numbers);
  if (wrong !== undefined) campaign.fail(`what is promoted: ${wrong}`);
  for (const [at, { secondary }] of pairs.entries()) {
    const number = must(numbers[at], 'a number');
    const { watermarks, role } = must(secondary.group, 'its group');
    if (role !== 'primary' || watermarks.newest !== number) {
      campaign.fail(`${secondary.name} is ${role} at ${watermarks.newest}, not at ${number}`);
    }
    const expected = ledger.contents(at, number, cutVolumeBytes);
    if (!expected.equals(await contentsOf(campaign, secondary))) {
      campaign.fail(`${secondary.name} has other contents than those of update ${number}`);
    }
  }
}

async function contentsOf(campaign: CutCampaign, node: CutNode): Promise<Buffer> {
  let isRead = false;
  const session = node.open({
    peer: '10.0.0.8:1',
    admitted: () => undefined,
    durableReached: () => undefined,
    durableFailed: () => undefined,
    readCompleted: () => {
      isRead = true;
    },
    revoke: () => undefined,
  });
  const bytes = Buffer.alloc(cutVolumeBytes);
  const result = must(session, node.name).read(0, cutVolumeBytes, bytes, 0, 1);
  if (result < 0) await campaign.until(() => isRead);
  session?.close();
  return bytes;
}
