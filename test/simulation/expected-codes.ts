import type { ConditionCode } from '../../src/group/catalog/conditions.ts';
import type { ErrorCode } from '../../src/platform/errors.ts';

const reached = 'reached';

/**
 * Every error of the engine: `reached` ones have to be told by some start, verb or handshake of a
 * campaign; of the others, who tells them and is no part of the simulation.
 */
export const errorCodes: Record<ErrorCode, string> = {
  argument_invalid: reached,
  configuration_invalid: 'the configuration file and the command line',
  address_in_use: reached,
  address_not_allowed: 'addresses of the machine',
  certificate_invalid: 'TLS',
  group_not_found: reached,
  volume_not_found: reached,
  export_not_found: 'our client of other NBD servers',
  exists_differently: reached,
  group_not_empty: reached,
  volume_in_use: reached,
  volume_shrink: reached,
  confirmation_needed: reached,
  hook_refused: 'hooks, which are processes',
  state_refuses: reached,
  data_directory_locked: reached,
  data_directory_foreign: reached,
  data_directory_read_only: reached,
  format_newer: reached,
  area_missing: 'a condition, and the offline inspection',
  area_foreign: reached,
  disk_full: reached,
  journal_full: 'a condition',
  memory_exhausted: 'a fleet',
  read_failed: reached,
  write_failed: reached,
  sync_failed: reached,
  journal_failed: reached,
  journal_damaged: reached,
  catalog_damaged: reached,
  checkpoint_damaged: reached,
  volume_missing: 'a condition, and the offline inspection',
  volume_abnormal: reached,
  daemon_unreachable: 'the command line, and our client of other NBD servers',
  shutting_down: reached,
  timed_out: 'a fleet',
  source_unreadable: reached,
  peer_unreachable: 'a fleet',
  peer_silent: 'a fleet',
  connection_lost: 'a fleet',
  request_aborted: 'a fleet, now and then',
  certificate_refused: 'TLS',
  protocol_violated: 'a fleet',
  protocol_unsupported: 'a fleet',
  follow_loop: 'a fleet',
  follower_not_allowed: 'a fleet',
  follower_not_found: 'a fleet',
  group_state: 'a fleet',
  group_opening: 'a fleet',
  generation_newer: 'a fleet',
  diverged: 'a fleet',
  position_released: 'a fleet',
  cut_epoch_stale: 'cuts',
  cut_round_lost: 'cuts',
  cut_not_found: 'a fleet',
  cut_aborted: 'a fleet',
  cut_half_promoted: 'a fleet',
  marker_not_found: 'a fleet',
  branch_not_found: 'nobody yet',
  branch_no_room: 'nobody yet',
  record_unreadable: 'a fleet',
  volume_unreadable: 'a fleet',
  unsupported: 'a source of a later version',
  internal: 'the control server, of programming errors',
};

/** Whether a condition can end before the daemon does; or it is of a system that follows, or is followed. */
const conditions: Record<ConditionCode, 'ends' | 'stays' | 'elsewhere'> = {
  area_failed: 'stays',
  journal_in_emergency_area: 'stays',
  area_missing: 'stays',
  area_slow: 'ends',
  catalog_behind: 'ends',
  follower_behind: 'elsewhere',
  followers_not_grown: 'elsewhere',
  journal_failed: 'ends',
  journal_damaged: 'stays',
  journal_full: 'ends',
  journal_unreadable: 'elsewhere',
  volume_space: 'ends',
  volume_failed: 'ends',
  volume_missing: 'ends',
  import_unfinished: 'ends',
  follow_interrupted: 'elsewhere',
  follow_refused: 'elsewhere',
  resync_waits: 'elsewhere',
  diverged: 'elsewhere',
  primary_unconfirmed: 'elsewhere',
  handoff_unconfirmed: 'elsewhere',
  handoff_taken_back: 'elsewhere',
  sync_lost: 'elsewhere',
  sync_stalled: 'elsewhere',
  sync_follower_lost: 'elsewhere',
  two_primaries: 'elsewhere',
  cut_without_marker: 'elsewhere',
  cut_targets_wait: 'elsewhere',
  cut_holds_apply: 'elsewhere',
  cut_promotion_unfinished: 'elsewhere',
};

/** What campaigns have to bring about, as it is counted. */
export const codeKinds: readonly string[] = [
  ...Object.entries(errorCodes)
    .filter(([, where]) => where === reached)
    .map(([code]) => `code ${code}`),
  ...Object.entries(conditions).flatMap(([code, ending]) => {
    if (ending === 'elsewhere') return [];
    return ending === 'ends' ? [`event ${code}`, `event ${code}_cleared`] : [`event ${code}`];
  }),
  'error EIO',
  'error ENOSPC',
  'error ESHUTDOWN',
  'error EIO of a journal-only read',
];
