import type { Watermarks } from '../../journal/watermarks.ts';
import { JnbdError } from '../../platform/errors.ts';
import type { Volume } from '../apply/volume.ts';
import { type ListingGroup, listUpdates } from './listed-updates.ts';

export interface ChangedVolume {
  readonly name: string;
  readonly changedBytes: number;
  /** In order of address, none adjoining the next. */
  readonly extents: readonly { readonly offset: number; readonly length: number }[];
}

interface ChangedGroup extends ListingGroup {
  readonly watermarks: Watermarks;
  readonly volumes: ReadonlyMap<string, Volume>;
}

/** So many ranges are joined before more are read. */
const rangesMax = 2 ** 18;

/**
 * What updates behind `from`, up to `through`, wrote to volumes that are there now. Rejects with JnbdError:
 * position_released, record_unreadable, state_refuses.
 */
export async function changedExtents(
  group: ChangedGroup,
  from: number,
  through: number,
): Promise<readonly ChangedVolume[]> {
  const { watermarks, volumes, name } = group;
  if (from < watermarks.released) {
    throw new JnbdError(
      'position_released',
      `updates of group ${name} up to ${watermarks.released} are not in the journal any more, so what they changed behind ${from} is not known`,
    );
  }
  if (through > watermarks.durable) {
    const text = `update ${through} of group ${name} is not durable yet; the newest one is ${watermarks.durable}`;
    throw new JnbdError('state_refuses', text);
  }
  const shown = [...volumes.values()].filter(({ catalog }) => catalog.preserves === undefined);
  const changed = new Map(shown.map(({ catalog }) => [catalog.id, new Ranges()]));
  await listUpdates(group, from, through, ({ volume, offset, length }) => {
    if (length > 0) changed.get(volume)?.add(offset, offset + length);
  });
  return shown.map(({ catalog }) => {
    const ranges = changed.get(catalog.id)?.joined() ?? [];
    const extents = ranges.map(([start, end]) => ({ offset: start, length: end - start }));
    const changedBytes = extents.reduce((sum, { length }) => sum + length, 0);
    return { name: catalog.name, changedBytes, extents };
  });
}

class Ranges {
  #ranges: [start: number, end: number][] = [];
  #joinedCount = 0;

  add(start: number, end: number): void {
    const last = this.#ranges.at(-1);
    if (last?.[1] === start) last[1] = end;
    else this.#ranges.push([start, end]);
    if (this.#ranges.length > rangesMax + this.#joinedCount * 2) this.joined();
  }

  joined(): readonly (readonly [start: number, end: number])[] {
    const sorted = this.#ranges.sort(([a], [b]) => a - b);
    const joined: [number, number][] = [];
    for (const range of sorted) {
      const last = joined.at(-1);
      if (last && range[0] <= last[1]) last[1] = Math.max(last[1], range[1]);
      else joined.push(range);
    }
    this.#ranges = joined;
    this.#joinedCount = joined.length;
    return joined;
  }
}
