import type { ConditionCode } from '../../src/group/conditions.ts';
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
  hook_refused: 'nobody yet',
  state_refuses: reached,
  data_directory_locked: reached,
  data_directory_foreign: reached,
  data_directory_read_only: reached,
  format_newer: reached,
  area_missing: 'a condition, and the offline inspection',
  area_foreign: reached,
  disk_full: reached,
  journal_full: 'a condition',
  memory_exhausted: 'nobody yet',
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
  timed_out: 'nobody yet',
  source_unreadable: reached,
  peer_unreachable: 'nobody yet',
  peer_silent: 'nobody yet',
  connection_lost: 'nobody yet',
  request_aborted: 'nobody yet',
  certificate_refused: 'TLS',
  protocol_violated: 'nobody yet',
  protocol_unsupported: 'nobody yet',
  follow_loop: 'nobody yet',
  follower_not_allowed: 'nobody yet',
  follower_not_found: 'nobody yet',
  group_state: 'nobody yet',
  generation_newer: 'nobody yet',
  diverged: 'nobody yet',
  position_released: 'nobody yet',
  branch_not_found: 'nobody yet',
  branch_no_room: 'nobody yet',
  record_unreadable: 'nobody yet',
  volume_unreadable: 'nobody yet',
  unsupported: 'nobody yet',
  internal: 'the control server, of programming errors',
};

/** Whether a condition can end before the daemon does; or nothing in a simulation raises it yet. */
const conditions: Record<ConditionCode, 'ends' | 'stays' | 'nobody yet'> = {
  area_failed: 'stays',
  journal_in_emergency_area: 'stays',
  area_missing: 'stays',
  area_slow: 'ends',
  catalog_behind: 'ends',
  follower_behind: 'nobody yet',
  followers_not_grown: 'nobody yet',
  journal_failed: 'ends',
  journal_damaged: 'stays',
  journal_full: 'ends',
  journal_unreadable: 'nobody yet',
  volume_space: 'ends',
  volume_failed: 'ends',
  volume_missing: 'ends',
  import_unfinished: 'ends',
  follow_interrupted: 'nobody yet',
  follow_refused: 'nobody yet',
  resync_waits: 'nobody yet',
  diverged: 'nobody yet',
  primary_unconfirmed: 'nobody yet',
  two_primaries: 'nobody yet',
};

/** What campaigns have to bring about, as it is counted. */
export const codeKinds: readonly string[] = [
  ...Object.entries(errorCodes)
    .filter(([, where]) => where === reached)
    .map(([code]) => `code ${code}`),
  ...Object.entries(conditions).flatMap(([code, ending]) => {
    if (ending === 'nobody yet') return [];
    return ending === 'ends' ? [`event ${code}`, `event ${code}_cleared`] : [`event ${code}`];
  }),
  'error EIO',
  'error ENOSPC',
  'error ESHUTDOWN',
  'error EIO of a journal-only read',
];
