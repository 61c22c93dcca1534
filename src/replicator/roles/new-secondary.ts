import type { FollowWish } from '../../group/catalog/follow-wish.ts';
import type { Group } from '../../group/order/group.ts';
import { type BlockSource, openFileSource } from '../../group/volumes/import.ts';
import type { System } from '../../group/system/system.ts';
import { JnbdError } from '../../platform/errors.ts';
import { formatExactSize } from '../../platform/size-text.ts';
import { followState, originOf } from '../peers/follow-request.ts';
import { register, unregister } from '../peers/registration.ts';
import type { TransportClient } from '../transport/transport.ts';
import type { Caller } from '../protocol/wire.ts';
import type { Registered } from '../protocol/wire-json.ts';

/** An image that a volume begins with, by the volume's name. */
export interface Seed {
  readonly volume: string;
  readonly image: BlockSource;
}

export interface NewSecondary {
  readonly group: Group;
  readonly seeds: readonly Seed[];
  readonly sourceName: string;
}

/**
 * Registers at a source for a group that is not here, and makes it. With images of volumes their contents
 * are to be compared, so the source gives them as copies in any case; images that do not fit are refused
 * before anything is made. Rejects with JnbdError, and then the source keeps nothing for this system.
 */
export async function makeSecondary(
  system: System,
  client: TransportClient,
  caller: Caller,
  wanted: FollowWish,
  listenPort: number,
): Promise<NewSecondary> {
  const { journalOnly, settings } = wanted;
  const next = followState(wanted, undefined);
  const images = openImages(system, wanted);
  try {
    const told = await register(client, caller, next.sourceGroup, {
      groupId: null,
      position: null,
      lineage: [],
      copyVolumes: 'all',
      journalOnly,
      listenPort,
      groupName: wanted.group,
      compare: images.length > 0,
    });
    try {
      for (const seed of images) checkSeed(seed, told, wanted);
      const origin = originOf(told, next, journalOnly);
      const capacity = { journalCapacityBytes: told.journalCapacityBytes, ...settings };
      const group = await system.createSecondary(wanted.group, origin, capacity);
      return { group, seeds: images, sourceName: told.name };
    } catch (error) {
      await forget(client, caller, told.groupId);
      throw error;
    }
  } catch (error) {
    await closeSeeds(images);
    throw error;
  }
}

export async function closeSeeds(seeds: readonly Seed[]): Promise<void> {
  for (const { image } of seeds) await image.close();
}

function openImages({ disk }: System, { seeds, journalOnly }: FollowWish): Seed[] {
  if (seeds.length > 0 && journalOnly) {
    throw new JnbdError('argument_invalid', 'follow: --journal-only stores nothing: no --seed');
  }
  const names = seeds.map(({ volume }) => volume);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) {
    throw new JnbdError('argument_invalid', `follow: --seed names volume ${twice} twice`);
  }
  const opened: Seed[] = [];
  try {
    for (const { volume, path } of seeds) {
      opened.push({ volume, image: openFileSource(disk, path) });
    }
    return opened;
  } catch (error) {
    void closeSeeds(opened);
    throw error;
  }
}

function checkSeed({ volume: name, image }: Seed, told: Registered, wanted: FollowWish): void {
  const { volumes } = told.catalog;
  const volume = volumes.find((each) => each.name === name && !each.journalOnly);
  if (!volume) {
    const names = volumes.map((each) => each.name).join(', ') || 'none';
    throw new JnbdError(
      'volume_not_found',
      `follow: --seed ${name}: group ${wanted.group} of system ${told.name} has no such volume; there are: ${names}`,
    );
  }
  if (image.sizeBytes <= volume.sizeBytes) return;
  throw new JnbdError(
    'argument_invalid',
    `follow: --seed ${name}: ${image.name} has ${formatExactSize(image.sizeBytes)}, and the volume ${formatExactSize(volume.sizeBytes)}`,
  );
}

/** What was registered is of no use; one that cannot be told keeps it until somebody removes it. */
async function forget(client: TransportClient, caller: Caller, groupId: string): Promise<void> {
  try {
    await unregister(client, caller, groupId);
  } catch (error) {
    if (!(error instanceof JnbdError)) throw error;
  }
}
