import { must } from '../../../src/platform/assert.ts';
import type { CutCampaign } from './cut-campaign.ts';
import { type CutNode, cutVolumeBytes } from './cut-system.ts';

/** The primaries are lost, and their secondaries take over at one marker. */
export async function endCuts(campaign: CutCampaign): Promise<void> {
  campaign.note('the end');
  const { pairs, counter, random, control, ledger } = campaign;
  for (const { primary } of pairs) primary.system.machine.faults.clear();
  if (!(await control.settle())) campaign.fail('no marker is made, or applied, any more');
  for (const { primary } of pairs) {
    await campaign.pass(random.fraction() * 20);
    control.beforeCrash();
    primary.crash(random.chance(0.5));
  }
  campaign.hosts.stop();
  const numbers = await control.promote();
  const wrong = ledger.inconsistency(numbers);
  if (wrong !== undefined) campaign.fail(`what was promoted: ${wrong}`);
  for (const [at, { secondary }] of pairs.entries()) {
    const number = must(numbers[at], 'a number');
    const { role, watermarks } = must(secondary.group, 'its group');
    const { newest } = watermarks;
    if (role !== 'primary' || newest !== number) {
      campaign.fail(`${secondary.name} is ${role} at ${newest}, not promoted at ${number}`);
    }
    const expected = ledger.contents(at, number, cutVolumeBytes);
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
