import type { Group } from '../../../src/group/order/group.ts';
import { generationOf, positionOf } from '../../../src/group/catalog/lineage.ts';
import type { JnbdError } from '../../../src/platform/errors.ts';
import type { TransportRequest } from '../../../src/replicator/transport/transport.ts';
import {
  encodeCaller,
  encodeJournalRead,
  type JournalRead,
  paths,
} from '../../../src/replicator/protocol/wire.ts';
import { readProblem, type Registration } from '../../../src/replicator/protocol/wire-json.ts';
import { SimulatedTransport } from '../simulated-transport.ts';
import type { FleetCampaign } from './fleet-campaign.ts';
import { type FleetMember, groupName } from './fleet-member.ts';

/** What is asked, and the code of the refusal that one of the answers has to be. */
type Question = readonly [code: string, requests: readonly TransportRequest[]];

const stranger = { systemId: 4711, name: 'stranger' };
const limits = { headMilliseconds: 20_000, silenceMilliseconds: 20_000 };
const waitMilliseconds = 3000;
const readsMax = 64;

/** Somebody who knows the port asks for what is not there, or not for it. */
export async function strangeRequest(campaign: FleetCampaign): Promise<void> {
  const { random } = campaign;
  const having = campaign.serving.filter(({ group }) => group?.state === 'normal');
  if (having.length === 0) return;
  const target = random.pick(having);
  const { group } = target;
  if (!group) return;
  // One that copies would be taken for complete.
  const known = group.followers.list().find(({ state }) => state === 'following');
  const theirs: readonly Question[] = known
    ? [
        ['generation_newer', [readAs(known, group, { position: newer(group) })]],
        ['memory_exhausted', Array.from({ length: readsMax + 1 }, () => waiting(known, group))],
      ]
    : [];
  const questions: readonly Question[] = [
    ['protocol_unsupported', [ofTheFuture(group)]],
    ['follower_not_found', [readAs(stranger, group)]],
    ['group_not_found', [readAs(stranger, group, {}, 'f'.repeat(32))]],
    ['protocol_violated', [{ ...registration(group), body: Buffer.from('{') }]],
    ...(known ? ([['follower_not_allowed', [unregistration(group, known)]]] as const) : []),
    ...(campaign.fleet.links.identity.kind === 'anonymous'
      ? ([['follower_not_allowed', [registration(group)]]] as const)
      : []),
    ...theirs,
  ];
  const question = random.pick(questions);
  const [code, wanted] = question;
  const { durable } = group.watermarks;
  const codes = await Promise.all(ask(campaign, target, wanted));
  for (const found of codes) if (found) campaign.counter.count(`code ${found}`);
  // Who has news for them answers reads, and does not let them wait.
  const hasNews = code === 'memory_exhausted' && group.watermarks.durable > durable;
  const isStillKnown = group.followers.list().some(({ systemId }) => systemId === known?.systemId);
  const isCalm = Object.values(campaign.fleet.links.weather).every((share) => share === 0);
  if (
    isCalm &&
    !hasNews &&
    target.isServing &&
    target.group === group &&
    !codes.includes(code) &&
    // It changed under the requests.
    !codes.some((found) => found === 'group_not_found' || found === 'group_state') &&
    (isStillKnown || !theirs.includes(question))
  ) {
    campaign.fail(`${target.name} says ${codes.join(', ')} where ${code} was to be expected`);
  }
}

function readAs(
  caller: { readonly systemId: number; readonly name: string },
  group: Group,
  changes: Partial<JournalRead> = {},
  groupId = group.catalog.groupId,
): TransportRequest {
  const { catalog, watermarks } = group;
  const read: JournalRead = {
    position: positionOf(catalog.lineage, watermarks.durable),
    received: 0,
    applied: 0,
    batchBytes: 65_536,
    waitMilliseconds: 0,
    isRetry: false,
    copied: [],
    ranges: [],
    members: [],
    ...changes,
  };
  const headers = { ...encodeCaller(caller), ...encodeJournalRead(read) };
  return { method: 'GET', path: paths.journal(groupId), headers };
}

function waiting(
  caller: { readonly systemId: number; readonly name: string },
  group: Group,
): TransportRequest {
  return readAs(caller, group, { waitMilliseconds });
}

function newer({ catalog: { lineage } }: Group): JournalRead['position'] {
  return { generation: generationOf(lineage) + 1, incarnation: 1, number: 1 };
}

function ofTheFuture(group: Group): TransportRequest {
  const request = readAs(stranger, group);
  return { ...request, headers: { ...request.headers, 'jnbd-protocol': '2' } };
}

function unregistration(
  group: Group,
  { systemId }: { readonly systemId: number },
): TransportRequest {
  const path = paths.follower(group.catalog.groupId, systemId);
  return { method: 'DELETE', path, headers: encodeCaller(stranger) };
}

function registration(group: Group): TransportRequest {
  const body: Registration = {
    ...stranger,
    groupId: null,
    position: null,
    lineage: [],
    copyVolumes: 'all',
    compare: false,
    journalOnly: false,
    listenPort: null,
    groupName: group.name,
  };
  const headers = { ...encodeCaller(stranger), 'content-type': 'application/json' };
  return {
    method: 'POST',
    path: paths.followers(groupName),
    headers,
    body: Buffer.from(JSON.stringify(body)),
  };
}

/** What comes back of each: its code, or nothing where it was answered. */
function ask(
  campaign: FleetCampaign,
  target: FleetMember,
  requests: readonly TransportRequest[],
): Promise<string | undefined>[] {
  const { links, clock } = campaign.fleet;
  const transport = new SimulatedTransport(links, 'stranger', clock);
  const client = transport.connect({
    url: target.system.url,
    connections: 1,
    windowBytes: 65_536,
  });
  let left = requests.length;
  const answers = requests.map(
    (request) =>
      new Promise<string | undefined>((resolve) => {
        const over = (code: string | undefined): void => {
          left -= 1;
          resolve(code);
        };
        let status = 0;
        const chunks: Uint8Array[] = [];
        client.request(request, limits, {
          head: (given) => {
            status = given;
          },
          body: (bytes) => chunks.push(bytes),
          ended: () => {
            if (status < 400) over(undefined);
            else over(readProblem(status, Buffer.concat(chunks)).error.code);
          },
          failed: (error: JnbdError) => over(error.code),
        });
      }),
  );
  return [campaign.until(() => left === 0).then(() => undefined), ...answers];
}
