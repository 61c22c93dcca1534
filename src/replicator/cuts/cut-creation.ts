import { JnbdError } from '../../platform/errors.ts';
import {
  type CutDefinition,
  type CutPlace,
  placesOfCut,
  type TargetList,
} from '../protocol/wire-cuts.ts';
import type { CutPeers } from './cut-peers.ts';

/** A group of a system, as a user names it. */
export interface NamedPlace {
  readonly url: string;
  readonly group: string;
}

export interface CutWish {
  readonly name: string;
  readonly members: readonly NamedPlace[];
  readonly targets: readonly { readonly name: string; readonly places: readonly NamedPlace[] }[];
  readonly intervalMilliseconds: number | null;
  readonly roundLimitMilliseconds: number;
}

const askMilliseconds = 5000;

/**
 * Finds out who all the places are, and whether each may be in the cut. Changes nothing. Rejects with JnbdError:
 * argument_invalid, exists_differently, state_refuses, what a system says.
 */
export async function defineCut(
  peers: CutPeers,
  ownSystemId: number,
  cutId: string,
  wish: CutWish,
): Promise<CutDefinition> {
  const { name, intervalMilliseconds, roundLimitMilliseconds } = wish;
  const find = (place: NamedPlace, part: 'member' | 'target'): Promise<CutPlace> =>
    inspect(peers, cutId, name, place, part);
  const members = await Promise.all(wish.members.map((place) => find(place, 'member')));
  const targets = await Promise.all(
    wish.targets.map(async (list): Promise<TargetList> => {
      const places = await Promise.all(list.places.map((place) => find(place, 'target')));
      return { name: list.name, places };
    }),
  );
  const definition = {
    cutId,
    name,
    members,
    targets,
    intervalMilliseconds,
    roundLimitMilliseconds,
  };
  checkDefinition(definition, ownSystemId);
  return definition;
}

async function inspect(
  peers: CutPeers,
  cutId: string,
  name: string,
  { url, group }: NamedPlace,
  part: 'member' | 'target',
): Promise<CutPlace> {
  const { place, obstacle } = await peers.ask(
    { url },
    cutId,
    'inspect',
    { name, group, part },
    askMilliseconds,
  );
  if (obstacle === '') return { ...place, url };
  throw new JnbdError(
    'state_refuses',
    `group ${group} at ${url} cannot be a ${part} of cut ${name}: ${obstacle}`,
  );
}

/** Throws JnbdError argument_invalid. */
function checkDefinition({ name, members, targets }: CutDefinition, ownSystemId: number): void {
  const refuse = (text: string): never => {
    throw new JnbdError('argument_invalid', `cut create ${name}: ${text}`);
  };
  const names = targets.map((list) => list.name);
  const twice = names.find((each, at) => names.indexOf(each) !== at);
  if (twice !== undefined) refuse(`there are two target lists named ${twice}`);
  const all = placesOfCut({ members, targets });
  const seen = new Set<string>();
  for (const { systemId, systemName, groupId, group } of all) {
    const key = `${systemId} ${groupId}`;
    if (seen.has(key)) refuse(`group ${group} of system ${systemName} is named twice`);
    seen.add(key);
  }
  for (const { name: list, places } of targets) {
    places.forEach((place, at) => {
      const member = members[at];
      if (member?.groupId === place.groupId) return;
      refuse(
        `group ${place.group} of system ${place.systemName} is no copy of group ${member?.group ?? '?'} of system ${member?.systemName ?? '?'}: target list ${list} names secondaries in the order of the members`,
      );
    });
  }
  if (members.length < 1) refuse('name its members: --member URL/GROUP');
  if (!all.some(({ systemId }) => systemId === ownSystemId)) {
    refuse('this system has no part in it; type it on one that has');
  }
}

/** The systems of a cut, each once. */
export function systemsOf(definition: CutDefinition): CutPlace[] {
  const systems = new Map<number, CutPlace>();
  for (const place of placesOfCut(definition)) {
    if (!systems.has(place.systemId)) systems.set(place.systemId, place);
  }
  return [...systems.values()];
}

/**
 * Tells all systems of the cut what it is; false: all knew. Where one refuses those that were new to it forget it
 * again, and who could not be told so is named. Rejects with JnbdError.
 */
export async function distributeCut(peers: CutPeers, definition: CutDefinition): Promise<boolean> {
  const { cutId, name } = definition;
  const made: CutPlace[] = [];
  for (const system of systemsOf(definition)) {
    try {
      const told = await peers.askPlace(system, cutId, 'define', { definition }, askMilliseconds);
      if (told.result === 'done') made.push(system);
    } catch (cause) {
      if (!(cause instanceof JnbdError)) throw cause;
      // Its answer may be what was lost.
      const untold = await withdrawCut(peers, cutId, [...made, system]);
      const left = untold.filter(({ systemId }) => systemId !== system.systemId);
      const half =
        left.length === 0
          ? ''
          : `; ${namesOf(left)} could not be told to forget it: type there jnbd cut delete ${name}`;
      throw new JnbdError(cause.code, `cut ${name} was not made: ${cause.message}${half}`, {
        cause,
      });
    }
  }
  return made.length > 0;
}

/** Those that were not reached. */
export async function withdrawCut(
  peers: CutPeers,
  cutId: string,
  systems: readonly CutPlace[],
): Promise<CutPlace[]> {
  const answers = await Promise.all(
    systems.map(async (system): Promise<CutPlace[]> => {
      try {
        await peers.askPlace(system, cutId, 'remove', {}, askMilliseconds);
        return [];
      } catch (error) {
        if (!(error instanceof JnbdError)) throw error;
        return [system];
      }
    }),
  );
  return answers.flat();
}

export function namesOf(systems: readonly CutPlace[]): string {
  return systems.map(({ systemName }) => `system ${systemName}`).join(', ');
}

/** Whether the cut is what was asked for. */
export function isSameCut(definition: CutDefinition, wish: CutWish): boolean {
  const named = ({ url, group }: NamedPlace): string => `${url}/${group}`;
  const text = ({ members, targets, ...rest }: Omit<CutWish, 'name'>): string =>
    JSON.stringify([
      members.map(named),
      targets.map(({ name, places }) => [name, places.map(named)]),
      rest.intervalMilliseconds,
      rest.roundLimitMilliseconds,
    ]);
  return text(definition) === text(wish);
}
