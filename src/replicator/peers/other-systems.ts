import { forkOf, generationOf } from '../../group/catalog/lineage.ts';
import type { Group } from '../../group/order/group.ts';
import type { System } from '../../group/system/system.ts';
import { JnbdError } from '../../platform/errors.ts';
import type { ToldGroup } from '../protocol/wire-history.ts';
import { askMember, type MemberDependencies } from './members.ts';

/** Another system that has the group, beside this one's source. */
export interface OtherSystem {
  readonly systemId: number;
  readonly name: string;
  /** Where it listens, if that is known. */
  readonly url: string | null;
  /** The highest update that it has, as it says or as others said. */
  readonly newest: number;
  /** How many of them are not here, and everything that is here is there. */
  readonly aheadUpdates: number;
  /** Of the newer generation that it knows; null: of none. */
  readonly newerGeneration: number | null;
  /** Whether it answered now. */
  readonly isHeard: boolean;
}

const askMilliseconds = 2000;

/**
 * How far the other systems are that have the group, those first that have most. `isAsked`: each is asked, for
 * two seconds; of those that do not answer what was told of them last.
 */
export async function otherSystems(
  deps: MemberDependencies,
  system: System,
  group: Group,
  isAsked: boolean,
): Promise<OtherSystem[]> {
  const source = group.follow.state?.sourceSystemId;
  const members = group.followers.members.list().filter(({ systemId }) => systemId !== source);
  const { newest } = group.watermarks;
  const others = await Promise.all(
    members.map(async ({ systemId, name, url, received }): Promise<OtherSystem> => {
      const told =
        isAsked && url !== undefined
          ? await heard(
              askMember(deps, system, group, { systemId, name, url }, askMilliseconds, true),
              systemId,
            )
          : undefined;
      const isHeard = told !== undefined;
      const known = { systemId, name: told?.name ?? name, url: url ?? null, isHeard };
      if (told) return { ...known, ...comparedWith(group, told) };
      const aheadUpdates = Math.max(0, received - newest);
      return { ...known, newest: received, aheadUpdates, newerGeneration: null };
    }),
  );
  return others.sort((a, b) => b.aheadUpdates - a.aheadUpdates || b.newest - a.newest);
}

function comparedWith(
  { catalog, watermarks }: Group,
  told: ToldGroup,
): Pick<OtherSystem, 'newest' | 'aheadUpdates' | 'newerGeneration'> {
  const { newest } = watermarks;
  const fork = forkOf(catalog.lineage, newest, told.lineage, told.newest);
  const generation = generationOf(told.lineage);
  return {
    newest: told.newest,
    aheadUpdates: fork === newest ? told.newest - fork : 0,
    newerGeneration: generation > generationOf(catalog.lineage) ? generation : null,
  };
}

/** Undefined: it did not answer; at its address may be another system now. */
async function heard(asking: Promise<ToldGroup>, systemId: number): Promise<ToldGroup | undefined> {
  try {
    const told = await asking;
    return told.systemId === systemId ? told : undefined;
  } catch (error) {
    if (!(error instanceof JnbdError)) throw error;
    return undefined;
  }
}
