import { JnbdError } from '../../platform/errors.ts';
import type {
  CutDefinition,
  CutPlace,
  CutTold,
  PlaceMarker,
  RoundCounts,
  TargetList,
} from '../protocol/wire-cuts.ts';
import type { Cut } from './cut.ts';
import { markerIdOf } from './cut-file.ts';
import type { CutPeers } from './cut-peers.ts';
import { compareMarkers } from '../../journal/cut-record.ts';
import { formatMarkerId, newerOf } from './marker-order.ts';
import { type MovedMember, remakeCommand } from './moved-member.ts';
import { selectableMarkers, type ToldTarget } from './target-choice.ts';

export interface MarkerReport {
  /** `EPOCH.SEQUENCE` */
  readonly id: string;
  readonly name: string;
  /** RFC 3339, by the clock of the system that made it. */
  readonly at: string;
  readonly ageSeconds: number;
}

export interface RoundsReport {
  readonly committed: number;
  readonly aborted: number;
  readonly lastAbort: { readonly reason: string; readonly at: string } | null;
}

/** What a system knows of a cut without asking. */
export interface LocalCut {
  readonly name: string;
  readonly cutId: string;
  readonly controller: string | null;
  readonly isController: boolean;
  readonly newest: MarkerReport | null;
  /** Made here, as the controller. */
  readonly rounds: RoundsReport;
  readonly members: { readonly group: string; readonly heldSeconds: number }[];
  readonly targets: {
    readonly list: string;
    readonly group: string;
    readonly heldAt: number;
    /** What it applies towards. */
    readonly target: MarkerReport | null;
    /** The newest committed one that stands in the journal here. */
    readonly received: MarkerReport | null;
  }[];
}

/** What all systems of a cut say. */
export interface CutReport {
  readonly name: string;
  readonly cutId: string;
  readonly intervalMilliseconds: number | null;
  readonly roundLimitMilliseconds: number;
  readonly controller: string | null;
  readonly newest: MarkerReport | null;
  /** Of the controller, since it began. */
  readonly rounds: RoundsReport;
  readonly members: {
    readonly system: string;
    readonly url: string;
    readonly group: string;
    /** Why it takes no part in rounds, or empty. */
    readonly obstacle: string;
    readonly heldMillisecondsPerSecond: number;
  }[];
  readonly targets: TargetReport[];
  /** Where members are not primary and it is known who is: what makes the cut anew with those. */
  readonly nextCommand: string | null;
}

export interface TargetReport {
  readonly name: string;
  /** The newest that all could be brought to, or promoted at. */
  readonly selectable: MarkerReport | null;
  /** The newest that all apply towards. */
  readonly target: MarkerReport | null;
  readonly secondaries: {
    readonly system: string;
    readonly url: string;
    readonly group: string;
    readonly state: ToldTarget['state'] | 'unreachable';
    readonly text: string;
    readonly target: string | null;
    readonly received: number;
    readonly applied: number;
    /** Updates that were received and are held, or not applied yet. */
    readonly behindUpdates: number;
  }[];
}

const askMilliseconds = 3000;

export function localCut(cut: Cut, nowMilliseconds: number): LocalCut {
  const { definition, members, targets, controller, rounds } = cut;
  const newest = members.newest();
  return {
    name: definition.name,
    cutId: definition.cutId,
    controller: members.controller?.name ?? null,
    isController: controller?.isControlling ?? false,
    newest: newest ? markerReport(newest, nowMilliseconds) : null,
    rounds: roundsReport(rounds),
    members: members.places.map(({ group, groupId }) => ({
      group,
      heldSeconds: members.heldMilliseconds(groupId) / 1000,
    })),
    targets: targets.holds.flatMap((hold) => {
      const group = targets.group(hold);
      if (!group) return [];
      const markers = targets.markersOf(hold);
      const released = markerIdOf(hold.released);
      const target = released && markers.find((each) => compareMarkers(each, released) === 0);
      const received = markers.findLast(({ isCommitted }) => isCommitted);
      return [
        {
          list: hold.list,
          group: group.name,
          heldAt: hold.heldAt,
          target: target ? markerReport(target, nowMilliseconds) : null,
          received: received ? markerReport(received, nowMilliseconds) : null,
        },
      ];
    }),
  };
}

export async function reportCut(
  peers: CutPeers,
  definition: CutDefinition,
  nowMilliseconds: number,
): Promise<CutReport> {
  const { name, cutId, intervalMilliseconds, roundLimitMilliseconds } = definition;
  const [members, targets] = await Promise.all([
    Promise.all(
      definition.members.map(async (place) => ({
        place,
        ...(await heard(
          peers.ask(place, cutId, 'survey', { isControlling: false }, askMilliseconds),
        )),
      })),
    ),
    Promise.all(
      definition.targets.map((list) => reportTargets(peers, cutId, list, nowMilliseconds)),
    ),
  ]);
  const moved = movedMembers(definition, members, targets);
  const controlling = members.find(({ told }) => told?.isControlling);
  const newest = members.reduce<PlaceMarker | null>(
    (found, { told }) =>
      (told?.groups ?? []).reduce((known, group) => newerOf(known, group.newest), found),
    null,
  );
  return {
    name,
    cutId,
    intervalMilliseconds,
    roundLimitMilliseconds,
    controller: controlling?.place.systemName ?? null,
    newest: newest && markerReport(newest, nowMilliseconds),
    rounds: roundsReport(
      controlling?.told?.rounds ?? { committed: 0, aborted: 0, lastAbort: lastAbortOf(members) },
    ),
    members: members.map(({ place, told, failure }) => memberReport(place, told, failure)),
    targets,
    nextCommand: moved.length > 0 ? remakeCommand(definition, moved) : null,
  };
}

/** A secondary that says that it is primary knows best; else the member may know where its group went. */
function movedMembers(
  definition: CutDefinition,
  members: readonly { readonly told: CutTold<'survey'> | undefined }[],
  targets: readonly TargetReport[],
): MovedMember[] {
  return definition.members.flatMap(({ groupId }, at): MovedMember[] => {
    const own = members[at]?.told?.groups.find((each) => each.groupId === groupId);
    if (own?.obstacle === '') return [];
    for (const [list, { places }] of definition.targets.entries()) {
      const state = targets[list]?.secondaries[at]?.state;
      const place = places[at];
      if (!place || (state !== 'primary' && state !== 'promoted')) continue;
      const isFollowed = own?.movedTo?.systemId === place.systemId && own.movedTo.isFollowed;
      return [{ groupId, to: { ...place, isFollowed } }];
    }
    return own?.movedTo ? [{ groupId, to: own.movedTo }] : [];
  });
}

/** Where nobody controls the cut, what the last one that tried says. */
function lastAbortOf(
  members: readonly { readonly told: CutTold<'survey'> | undefined }[],
): RoundCounts['lastAbort'] {
  let last: RoundCounts['lastAbort'] = null;
  for (const { told } of members) {
    const abort = told?.rounds.lastAbort;
    if (abort && abort.atMilliseconds > (last?.atMilliseconds ?? 0)) last = abort;
  }
  return last;
}

function memberReport(
  { systemName, url, group, groupId }: CutPlace,
  told: CutTold<'survey'> | undefined,
  failure: string,
): CutReport['members'][number] {
  const own = told?.groups.find((each) => each.groupId === groupId);
  return {
    system: systemName,
    url,
    group,
    obstacle: own?.obstacle ?? failure,
    heldMillisecondsPerSecond: own?.heldMillisecondsPerSecond ?? 0,
  };
}

async function reportTargets(
  peers: CutPeers,
  cutId: string,
  { name, places }: TargetList,
  nowMilliseconds: number,
): Promise<TargetReport> {
  const asked = await Promise.all(
    places.map(async (place) => {
      const ask = { list: name, groupId: place.groupId, isControlling: false };
      return { place, ...(await heard(peers.ask(place, cutId, 'targets', ask, askMilliseconds))) };
    }),
  );
  const told = asked.flatMap((each) => each.told ?? []);
  const isWhole = told.length === places.length;
  const selectable = isWhole ? selectableMarkers(told).at(-1) : undefined;
  const markers = told.flatMap((each) => each.markers);
  const released = told.map((each) => each.released);
  const lowest = released.reduce(
    (a, b) => (a && b ? (compareMarkers(a, b) <= 0 ? a : b) : null),
    released[0] ?? null,
  );
  const target = lowest && markers.find((each) => compareMarkers(each, lowest) === 0);
  return {
    name,
    selectable: selectable ? markerReport(selectable, nowMilliseconds) : null,
    target: target && isWhole ? markerReport(target, nowMilliseconds) : null,
    secondaries: asked.map(({ place, told: said, failure }) => ({
      system: place.systemName,
      url: place.url,
      group: place.group,
      state: said?.state ?? 'unreachable',
      text: said?.text ?? failure,
      target: said?.released ? formatMarkerId(said.released) : null,
      received: said?.received ?? 0,
      applied: said?.applied ?? 0,
      behindUpdates: said ? Math.max(0, said.received - said.applied) : 0,
    })),
  };
}

export function markerReport(
  marker: Pick<PlaceMarker, 'epoch' | 'sequence' | 'name' | 'wallTimeMilliseconds'>,
  nowMilliseconds: number,
): MarkerReport {
  return {
    id: formatMarkerId(marker),
    name: marker.name,
    at: new Date(marker.wallTimeMilliseconds).toISOString(),
    ageSeconds: Math.max(0, nowMilliseconds - marker.wallTimeMilliseconds) / 1000,
  };
}

function roundsReport({ committed, aborted, lastAbort }: RoundCounts): RoundsReport {
  return {
    committed,
    aborted,
    lastAbort: lastAbort && {
      reason: lastAbort.reason,
      at: new Date(lastAbort.atMilliseconds).toISOString(),
    },
  };
}

async function heard<T>(
  asking: Promise<T>,
): Promise<{ readonly told: T | undefined; readonly failure: string }> {
  try {
    return { told: await asking, failure: '' };
  } catch (error) {
    if (!(error instanceof JnbdError)) throw error;
    return { told: undefined, failure: error.message };
  }
}
