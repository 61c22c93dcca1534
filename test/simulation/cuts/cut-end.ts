import { must } from '../../../src/platform/assert.ts';
import type { CutCampaign } from './cut-campaign.ts';
import { cutId } from './cut-controller.ts';
import { cutGroup, type CutNode, cutVolumeBytes } from './cut-system.ts';
import { newestOf, selectable } from './cut-targets.ts';

/** The primaries are lost, and their secondaries take over at one marker. */
export async function endCuts(campaign: CutCampaign): Promise<void> {
  campaign.note('the end');
  const { pairs, counter, random, messages } = campaign;
  for (const { primary } of pairs) primary.system.machine.faults.clear();
  messages.weather = { lost: 0, twice: 0, late: 0 };
  campaign.killControllers();
  campaign.addController();
  const before = counter.of('target moved');
  const isMoving = await campaign.until(() => counter.of('target moved') > before + pairs.length);
  if (!isMoving) campaign.fail('no marker is made, or selected, any more');
  campaign.targets.stop();
  for (const { primary } of pairs) {
    await campaign.pass(random.fraction() * 20);
    primary.crash(random.chance(0.5));
  }
  campaign.hosts.stop();
  campaign.killControllers();
  await campaign.pass(50);
  const secondaries = pairs.map(({ secondary }) => secondary);
  const lists = secondaries.map((node) => must(node.member, node.name).markers(cutId));
  const begun = newestOf(secondaries.map(({ promises }) => promises.next));
  const target = newestOf([begun, ...selectable(lists)]);
  if (!target) return campaign.fail('no marker can be selected');
  const wrong = campaign.ledger.inconsistency(target.numbers);
  if (wrong !== undefined) campaign.fail(`what is selected last: ${wrong}`);
  for (const [at, secondary] of secondaries.entries()) {
    const number = must(target.numbers[at], 'a number');
    const input = { group: cutGroup, at: String(number), force: true };
    await secondary.system.verb('promote', input);
    const { newest } = must(secondary.group, 'its group').watermarks;
    if (newest !== number) campaign.fail(`${secondary.name} is promoted at ${newest}`);
    const expected = campaign.ledger.contents(at, number, cutVolumeBytes);
    if (!expected.equals(await contentsOf(campaign, secondary))) {
      campaign.fail(`${secondary.name} has other contents than those of update ${number}`);
    }
  }
  counter.count('cut promoted');
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
