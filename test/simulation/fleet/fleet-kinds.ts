import type { ErrorCode } from '../../../src/platform/errors.ts';
import type { ConditionCode } from '../../../src/group/catalog/conditions.ts';

/** Errors that systems tell each other, or a command about following. */
const followCodes: readonly ErrorCode[] = [
  'memory_exhausted',
  'timed_out',
  'peer_unreachable',
  'peer_silent',
  'connection_lost',
  'protocol_violated',
  'protocol_unsupported',
  'follow_loop',
  'follower_not_allowed',
  'follower_not_found',
  'group_state',
  'generation_newer',
  'diverged',
  'contents_diverged',
  'position_released',
  'record_unreadable',
  'volume_unreadable',
];

const followConditions: readonly ConditionCode[] = [
  'follower_behind',
  'journal_unreadable',
  'follow_interrupted',
  'follow_refused',
];

const events = [
  'followed',
  'unfollowed',
  'unfollow_untold',
  'follow_suspended',
  'follow_resumed',
  'promoted',
  'handed_over',
  'copy_completed',
  'follower_registered',
  'follower_registered_again',
  'follower_dropped',
  'resync_begun',
  'resynced',
  'handoff_taken_back',
  'handoff_taken_back_cleared',
  'rollback_begun',
  'rollback_ended',
] as const;

/** As they are counted. */
export const followCodeKinds: readonly string[] = [
  ...followCodes.map((code) => `code ${code}`),
  ...followConditions.flatMap((code) => [`event ${code}`, `event ${code}_cleared`]),
  ...events.map((code) => `event ${code}`),
  'promotion',
  'handoff',
  'handoff taken back',
  'copy that shows more than its heir has',
  'rewind',
  'follower removed while a journal begins anew',
  'branch',
  'volume compared',
  'rollback asked for',
  'rollback done',
  'rollback that goes on',
  'promotion that goes back',
  'volume kept shut',
];

/** What tables allow and nothing does yet, or no campaign can see. */
export const notBroughtAbout: ReadonlySet<string> = new Set([
  'cursor following -> suspended',
  // A source suspends followers of its own accord only when it is promoted.
  'cursor registered -> suspended',
  'cursor copying -> suspended',
]);
