import type { Result } from '../../../src/control/schema.ts';
import { chainOf } from '../../../src/group/catalog/snapshots.ts';
import { isNumbered } from '../../../src/journal/record.ts';
import { SegmentReader } from '../../../src/journal/segment-reader.ts';
import { JnbdError } from '../../../src/platform/errors.ts';
import { blockBytes, segmentHeaderBytes } from '../../../src/platform/limits.ts';
import type { FleetSystem } from '../../replicator/fleet.ts';
import { groupName, type IdentityCampaign, volumes } from './identity-campaign.ts';

type Verified = Result<'verify'>;

/** Where a bit was flipped under a daemon. */
interface Flipped {
  readonly volume: string;
  /** Null: of the volume itself. */
  readonly snapshot: string | null;
  readonly offset: number;
}

/** No difference is found where there is none, whatever hosts do meanwhile. */
export async function verifyWhileWriting(campaign: IdentityCampaign): Promise<void> {
  const { random, systems, counter } = campaign;
  await campaign.caughtUp();
  const system = random.pick(systems);
  let verified: Verified | undefined;
  let failure: unknown;
  begin(system, { snapshots: random.chance(0.5) }).then(
    (result) => {
      verified = result;
    },
    (error: unknown) => {
      failure = error ?? new Error('no reason');
    },
  );
  const isOver = (): boolean => verified !== undefined || failure !== undefined;
  for (let rounds = 0; rounds < 20 && !isOver(); rounds += 1) {
    await campaign.write(random.between(1, 6));
    await campaign.pass(random.fraction() * random.pick([1, 5, 30]));
  }
  await campaign.fleet.clock.runUntil(isOver, 300_000);
  if (!verified) throw failure;
  expectSame(campaign, system, verified);
  counter.count('verified while hosts write');
}

export function expectSame(campaign: IdentityCampaign, { host }: FleetSystem, found: Verified) {
  if (found.result !== 'same') campaign.fail(`${host} finds what is not: ${JSON.stringify(found)}`);
}

export function begin(
  { daemon }: FleetSystem,
  input: { readonly snapshots?: boolean; readonly repairFrom?: string },
): Promise<Verified> {
  const call = { signal: new AbortController().signal, progress: () => undefined };
  const all = { group: groupName, ...input };
  return daemon.composed.control.change('/verbs/verify', all, call) as Promise<Verified>;
}

/** A bit of a volume or of an area flips at one system: it is named, and gone once it was repaired. */
export async function flipAndRepair(campaign: IdentityCampaign): Promise<void> {
  const { random, systems, counter } = campaign;
  await campaign.caughtUp();
  const at = random.int(systems.length);
  const damaged = systems[at];
  // A primary compares with all who follow it, and is repaired from one.
  const right = systems[at === 0 ? 1 : at - 1];
  if (!damaged || !right) return;
  // A follower takes for its clones what they lack before it is repaired, and ends its views; what is kept of the past
  // of a primary is what was damaged.
  const isInTheWay = [...campaign.clones].some(({ system, kind }) =>
    kind === 'view' ? at > 0 || system === damaged : at > 0 && system === damaged,
  );
  if (isInTheWay) return;
  const flipped = flip(campaign, damaged);
  campaign.note(`${damaged.host}: a bit flips in ${JSON.stringify(flipped)}`);
  const asked = random.chance(0.5) || at > 1 ? damaged : systems[1 - Math.min(1, at)];
  if (!asked) return;
  const found = await asked.run(begin(asked, { snapshots: true }), 300_000);
  expectNamed(campaign, found, flipped);
  counter.count(flipped.snapshot === null ? 'flipped in a volume' : 'flipped in an area');
  const repaired = await damaged.run(
    begin(damaged, { snapshots: true, repairFrom: right.host }),
    300_000,
  );
  if (repaired.repair === null)
    campaign.fail(`${damaged.host} repairs nothing: ${JSON.stringify(repaired)}`);
  for (let attempt = 0; ; attempt += 1) {
    await campaign.pass(500);
    await campaign.caughtUp();
    const again = await tryVerify(damaged);
    if (again?.result === 'same') break;
    if (attempt === 20)
      campaign.fail(`${damaged.host} is not repaired: ${JSON.stringify(again ?? 'refused')}`);
  }
  counter.count(at === 0 ? 'primary repaired' : 'follower repaired');
}

/** Undefined: its contents are not complete yet. */
async function tryVerify(system: FleetSystem): Promise<Verified | undefined> {
  try {
    return await system.run(begin(system, { snapshots: true }), 300_000);
  } catch (error) {
    if (error instanceof JnbdError) return undefined;
    throw error;
  }
}

function expectNamed(campaign: IdentityCampaign, found: Verified, flipped: Flipped): void {
  const { volume, snapshot, offset } = flipped;
  const isNamed = found.systems.some(({ result, differences }) =>
    differences.some(
      (each) =>
        result === 'different' &&
        each.volume === volume &&
        each.snapshot === snapshot &&
        each.offset <= offset &&
        offset < each.offset + each.length &&
        each.length <= blockBytes,
    ),
  );
  if (found.result === 'different' && isNamed) return;
  campaign.fail(`a bit in ${JSON.stringify(flipped)} is not named: ${JSON.stringify(found)}`);
}

/** In the page cache and on the device, past the daemon. */
function flip(campaign: IdentityCampaign, system: FleetSystem): Flipped {
  const { random } = campaign;
  const group = system.group();
  const volume = random.pick(volumes);
  const live = group.volumes.get(volume.name);
  const id = live?.catalog.id ?? 0;
  const anywhere = random.int(volume.sizeBytes);
  const kept = campaign
    .snapshotsOf(system)
    .flatMap(({ number, name }) =>
      (chainOf(group.snapshots.list, number, id) ?? []).slice(0, 1).map((area) => ({ name, area })),
    );
  const [first] = kept.length > 0 && random.chance(0.6) ? [random.pick(kept)] : [];
  const blocks = first ? markedBlocks(system, first.area, volume.sizeBytes) : [];
  const file = (of: number): string => system.system.filesOf(group).volume(of);
  if (!first || blocks.length === 0) {
    flipIn(system, file(id), anywhere);
    return { volume: volume.name, snapshot: null, offset: anywhere };
  }
  const block = random.pick(blocks) * blockBytes;
  const offset = block + random.int(Math.min(blockBytes, volume.sizeBytes - block));
  flipIn(system, file(first.area), offset);
  return { volume: volume.name, snapshot: first.name, offset };
}

function markedBlocks(system: FleetSystem, area: number, dataBytes: number): number[] {
  const { map } = system.group().snapshots.areaOf(area);
  const blocks = Math.ceil(dataBytes / blockBytes);
  return Array.from({ length: blocks }, (_, block) => block).filter((block) => map.has(block));
}

function flipIn({ disk }: FleetSystem, path: string, offset: number): void {
  const file = disk.openSync(path, 'read-write', 'volume');
  const byte = Buffer.alloc(1);
  file.readSync(byte, 0, 1, offset);
  byte[0] = (byte[0] ?? 0) ^ 4;
  file.writeSync(byte, 0, 1, offset);
  file.dataSyncSync();
  file.closeSync();
}

const zero = Buffer.alloc(0);
/** Of a sealed file, which is never shorter. */
const sealedBytes = { start: 0, end: 40 };

/** A bit of what is kept beside volumes: its file is named. */
export async function flipBeside(campaign: IdentityCampaign): Promise<void> {
  const { random, systems, counter } = campaign;
  await campaign.caughtUp();
  const system = random.pick(systems);
  const group = system.group();
  const files = system.system.filesOf(group);
  const { current } = group.chain;
  const sealed = [files.catalog, files.follow, files.followers, files.members].filter((path) =>
    system.disk.existsSync(path),
  );
  const records = random.chance(0.5) ? retainedRecords(system) : [];
  const path = records.length > 0 ? current.file.path : random.pick(sealed);
  const record = records.length > 0 ? random.pick(records) : undefined;
  const { start, end } = record ?? sealedBytes;
  const offset = random.between(start, end - 1);
  flipIn(system, path, offset);
  const flipped = system.disk.readFileSync(path, 'catalog');
  campaign.note(`${system.host}: a bit flips at ${offset} of ${path}`);
  const found = await system.run(begin(system, {}), 300_000);
  const isNamed = found.damages.some(
    ({ file, system: host }) => file === path && host === system.host,
  );
  // The daemon may have written it anew, before or since, or released it.
  const now = system.disk.readFileSync(path, 'catalog');
  const isThere = record
    ? [...group.chain.live()].includes(current)
    : Buffer.compare(now ?? zero, flipped ?? zero) === 0;
  const isKept = isThere && (!record || record.number > group.watermarks.released);
  if (!isNamed && isKept)
    campaign.fail(`a bit at ${offset} of ${path} is not named: ${JSON.stringify(found)}`);
  if (isThere) flipIn(system, path, offset);
  counter.count(record ? 'flipped in a journal' : 'flipped in a sealed file');
}

interface RetainedRecord {
  readonly number: number;
  /** Its bytes in the newest segment, up to and without `end`. */
  readonly start: number;
  readonly end: number;
}

/** Of the newest segment those that the journal keeps and calls durable. */
function retainedRecords(system: FleetSystem): RetainedRecord[] {
  const { chain, watermarks } = system.group();
  const { file, header } = chain.current;
  const reader = new SegmentReader(system.disk);
  reader.open(file);
  const found: RetainedRecord[] = [];
  for (let at = segmentHeaderBytes; reader.recordAt(at, header.salt) === 'record'; ) {
    const { type, number, headerBytes, payloadBytes } = reader.header;
    const end = at + headerBytes + payloadBytes;
    const isKept = number > watermarks.released && number <= watermarks.durable;
    if (isNumbered(type) && isKept) found.push({ start: at, end, number });
    at = end;
  }
  return found;
}
