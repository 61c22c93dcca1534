import type { FollowState } from '../catalog/follow-file.ts';
import { agreesAt, generationOf, type Lineage, type Position } from '../catalog/lineage.ts';
import type { ToldHistory } from '../order/take-over.ts';

/**
 * What contents of a source show, which may be more than what was received from it (SAFETY 11). They are of one instant
 * once the highest number is applied: where records up to there are of the history that the contents were of. A source
 * that is lost takes what only contents show with it, and the one that is followed then may go on in another way.
 */
export type ShownContents = Pick<FollowState, 'shows' | 'shown'>;

interface ReceivedHistory {
  readonly catalog: { readonly lineage: Lineage };
  readonly watermarks: { readonly newest: number };
}

/** With contents that show `position`. */
export function addShown(contents: ShownContents, position: Position): ShownContents {
  const { shows, shown = [] } = contents;
  const { generation, incarnation, number } = position;
  const known = shown.find(
    (each) => each.generation === generation && each.incarnation === incarnation,
  );
  if (known && known.number >= number) return contents;
  const others = shown.filter((each) => each !== known);
  return { shows: Math.max(shows, number), shown: [...others, position] };
}

export function isSameShown(one: ShownContents, other: ShownContents): boolean {
  const shown = [one.shown, other.shown].map((each) => JSON.stringify(each ?? []));
  return one.shows === other.shows && shown[0] === shown[1];
}

/** Without what was received since, and is the same. */
export function stillShown(contents: ShownContents, group: ReceivedHistory): ShownContents {
  const { shows, shown } = contents;
  const left = shown?.filter(
    (each) => each.number > group.watermarks.newest || !agreesAt(group.catalog.lineage, each),
  );
  return { shows, shown: left && left.length > 0 ? left : undefined };
}

/**
 * What contents show that is no part of the group's history; with `told`, nor of that of a source, which goes up to
 * `newest` there. Nothing that is received makes such volumes of one instant.
 */
export function partedContents(
  { catalog, watermarks, follow }: ReceivedHistory & { follow: { state: FollowState | undefined } },
  told?: ToldHistory,
): Position | undefined {
  const own = { lineage: catalog.lineage, newest: watermarks.newest };
  return follow.state?.shown?.find(
    (each) =>
      isParted(own, each) ||
      (told !== undefined && each.number > own.newest && isParted(told, each)),
  );
}

/** Numbers that are to come are of the generation of the last ones, or of a later one. */
function isParted({ lineage, newest }: ToldHistory, position: Position): boolean {
  const isToCome = position.number > newest;
  return isToCome ? position.generation < generationOf(lineage) : !agreesAt(lineage, position);
}
