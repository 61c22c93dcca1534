import type { FollowState } from '../group/follow-file.ts';
import type { GroupSettings } from '../group/new-group.ts';
import { parseBatchSize, parsePace } from '../platform/pace-settings.ts';
import { followDefaults } from './handoff.ts';

/** What `jnbd follow` says; what it does not say stays as it is, or gets its default. */
export interface FollowRequest {
  readonly group: string;
  /** `http://HOST:PORT` or `https://HOST:PORT`. */
  readonly url: string;
  /** The group's name there, where it is another one. */
  readonly sourceGroup: string | undefined;
  readonly journalOnly: boolean;
  readonly pace: string | undefined;
  readonly batchSize: string | undefined;
  readonly links: number | undefined;
  readonly settings: GroupSettings;
}

export type SourceChoice = Omit<
  FollowState,
  'formatVersion' | 'sourceSystemId' | 'sourceName' | 'copies' | 'shows' | 'resync'
>;

export function followState(wanted: FollowRequest, before: FollowState | undefined): SourceChoice {
  return {
    url: wanted.url,
    sourceGroup: wanted.sourceGroup ?? before?.sourceGroup ?? wanted.group,
    isSuspended: before?.isSuspended ?? false,
    pace: wanted.pace ?? before?.pace ?? followDefaults.pace,
    batchSize: wanted.batchSize ?? before?.batchSize ?? followDefaults.batchSize,
    links: wanted.links ?? before?.links ?? followDefaults.links,
  };
}

/** Throws JnbdError argument_invalid. */
export function checkSettings({ pace, batchSize }: FollowRequest): void {
  if (pace !== undefined) parsePace(pace);
  if (batchSize !== undefined) parseBatchSize(batchSize);
}
