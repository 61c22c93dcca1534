import type { WhenFull } from './follow-file.ts';
import type { GroupSettings } from './new-group.ts';

/** What `jnbd follow` says; what it does not say stays as it is, or gets its default. */
export interface FollowWish {
  readonly group: string;
  /** `http://HOST:PORT` or `https://HOST:PORT`. */
  readonly url: string;
  /** The group's name there, where it is another one. */
  readonly sourceGroup: string | undefined;
  readonly journalOnly: boolean;
  /** Goes back to where the histories part, if they do. */
  readonly rewind: boolean;
  /** With `rewind`: also where the own journal does not tell what differs. */
  readonly compare: boolean;
  readonly pace: string | undefined;
  readonly batchSize: string | undefined;
  readonly links: number | undefined;
  readonly whenFull: WhenFull | undefined;
  /** Replies to the source's hosts are to wait for this system. */
  readonly synchronous?: boolean | undefined;
  /** Sources to read from while that at `url` is busy. */
  readonly relief: readonly string[] | undefined;
  /** Of a group that is not here yet: images that volumes begin with, by their names. */
  readonly seeds: readonly { readonly volume: string; readonly path: string }[];
  readonly settings: GroupSettings;
}

/** What `jnbd secondary add` says. */
export interface SecondaryWish {
  readonly group: string;
  /** Name of the system that is to follow. */
  readonly secondary: string;
  /** Where it listens. */
  readonly url: string;
  /** What the group is to be called there. */
  readonly groupThere: string | undefined;
  readonly journalOnly: boolean;
  /** Replies to hosts are to wait for it. */
  readonly synchronous?: boolean | undefined;
  readonly journalCapacityBytes: number | undefined;
}
