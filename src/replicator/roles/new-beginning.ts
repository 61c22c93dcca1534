import { type Branch, saveBranch } from '../../group/system/branches.ts';
import type { FollowedSource } from '../../group/catalog/follow-file.ts';
import { agreesAt, generationOf, lineageThrough, positionOf } from '../../group/catalog/lineage.ts';
import type { Group } from '../../group/order/group.ts';
import { settle } from '../../group/roles/resync.ts';
import type { System } from '../../group/system/system.ts';
import { JnbdError } from '../../platform/errors.ts';
import type { SourceChoice } from '../peers/follow-request.ts';
import { firstSourceOf } from '../peers/follow-request.ts';
import type { Registered } from '../protocol/wire-json.ts';
import { type RewindDependencies, rewindGroup, rewoundText } from './rewind.ts';

export interface BegunAnew {
  /** Opened again. */
  readonly group: Group;
  readonly text: string;
}

/**
 * A group that keeps the journal alone needs nothing but records: behind a gap its journal begins anew at the
 * oldest that its source keeps for it. What it has is of no use with that, and may be all there is of an earlier
 * instant: so it does this by itself only where whoever follows it has everything. Its followers are behind
 * then, and it can tell none of them what changed in the gap.
 *
 * A crash before the journal begins anew leaves the group as it was, and at most the branch. Resolves with
 * the group, opened again. Rejects with JnbdError (position_released, state_refuses, branch_no_room, ...), and
 * then nothing has changed that its followers would notice.
 */
export async function beginAnew(
  system: System,
  group: Group,
  told: Registered,
  follow: FollowedSource,
  isWanted: () => boolean,
  isCommanded = false,
): Promise<BegunAnew> {
  await settle(group);
  const { catalog, watermarks, followers, name } = group;
  const { newest, released } = watermarks;
  const through = told.resync?.through ?? told.from;
  checkHistory(group, told, through);
  if (!isCommanded) checkNotNeeded(group, told.name, follow.url);
  const files = system.filesOf(group);
  const deps = { disk: system.disk, clock: group.clock };
  const branch = isCommanded ? await saveBranch(deps, group, files, released) : undefined;
  if (!isWanted() || watermarks.newest !== newest) {
    throw new JnbdError(
      'state_refuses',
      `the journal of group ${name} is not to begin anew any more`,
    );
  }
  for (const { systemId, state } of followers.list()) {
    if (state !== 'behind') followers.leaveBehind(systemId);
    // Nobody here knows what the gap changed.
    followers.maps.remove(systemId);
  }
  const lineage = lineageThrough(told.lineage, through);
  const isSettled = generationOf(lineage) > generationOf(catalog.lineage);
  const opened = await system.restartGroup(group, {
    number: through,
    catalog: {
      ...group.catalog,
      markers: undefined,
      lineage,
      handedOver: isSettled ? undefined : catalog.handedOver,
      number: told.catalog.number,
      nextVolumeId: told.catalog.nextVolumeId,
      volumes: told.catalog.volumes.map((volume) => ({ ...volume, journalOnly: true })),
      snapshots: told.catalog.snapshots,
      snapshotSchedule: told.catalog.snapshotSchedule,
    },
    follow: { formatVersion: 1, ...follow, copies: [], shows: through },
    made: [],
  });
  return { group: opened, text: text(name, newest, through, told.name, branch) };
}

/** `follow --rewind`: back to where the histories part, or, where there is the journal alone, on behind a gap. */
export async function goBack(
  deps: RewindDependencies,
  group: Group,
  next: SourceChoice,
): Promise<BegunAnew> {
  if (group.catalog.journalOnly) {
    const told = await deps.register({ position: null, lineage: [] });
    const follow = { ...next, ...firstSourceOf(told) };
    return beginAnew(deps.system, group, told, follow, deps.isWanted, true);
  }
  const rewound = await rewindGroup(deps, group, next);
  return { group: rewound.group, text: rewoundText(rewound) };
}

function checkHistory(
  { name, catalog, watermarks }: Group,
  told: Registered,
  through: number,
): void {
  const { newest } = watermarks;
  if (!agreesAt(told.lineage, positionOf(catalog.lineage, newest))) {
    throw new JnbdError(
      'diverged',
      `group ${name} keeps the journal alone, and its updates up to ${newest} are not of the history of system ${told.name}: give them up by jnbd group delete ${name} --force, then jnbd follow ${name} --from URL --journal-only`,
    );
  }
  if (through > newest) return;
  throw new JnbdError(
    'state_refuses',
    `system ${told.name} has all that group ${name} needs: it follows without --rewind`,
  );
}

/** Throws position_released. */
function checkNotNeeded({ name, followers, watermarks }: Group, source: string, url: string): void {
  const { newest, released } = watermarks;
  const all = followers.list();
  const needing = all.filter(({ received }) => received < newest).map((each) => each.name);
  if (newest === released || (all.length > 0 && needing.length === 0)) return;
  const why =
    needing.length > 0
      ? `which ${needing.join(', ')} may need`
      : 'which nobody else has taken over';
  throw new JnbdError(
    'position_released',
    `system ${source} has released what comes behind update ${newest}, and group ${name} keeps updates ${released + 1} to ${newest}, ${why}: jnbd follow ${name} --from ${url} --rewind saves them as a branch and begins the journal anew behind the gap`,
  );
}

function text(
  name: string,
  newest: number,
  through: number,
  source: string,
  branch: Branch | undefined,
): string {
  const kept = branch ? `; branch ${branch.name} has updates ${branch.first} to ${newest}` : '';
  return `the journal of group ${name} begins anew behind update ${through}: system ${source} has released those from ${newest + 1} on${kept}`;
}
