import { constants } from 'node:os';

/**
 * One error class for everything that can go wrong while operating. A programming error is never a
 * JnbdError: it stays what it is and stops the process.
 *
 * `kind` tells the caller what to do: `usage` and `refused` want another command, `not_found` names
 * nothing, `retryable` may succeed unchanged later, `fatal` will not, `damage` means stored bytes are
 * not what was written.
 */
export type ErrorKind =
  | 'usage'
  | 'not_found'
  | 'refused'
  | 'retryable'
  | 'timed_out'
  | 'unreachable'
  | 'damage'
  | 'fatal';

/** Every code is stable: scripts and tests match on it. */
const errorKinds = {
  argument_invalid: 'usage',
  configuration_invalid: 'usage',
  address_in_use: 'refused',
  address_not_allowed: 'refused',
  certificate_invalid: 'usage',
  group_not_found: 'not_found',
  volume_not_found: 'not_found',
  snapshot_not_found: 'not_found',
  export_not_found: 'not_found',
  exists_differently: 'refused',
  group_not_empty: 'refused',
  volume_in_use: 'refused',
  volume_shrink: 'refused',
  confirmation_needed: 'refused',
  hook_refused: 'refused',
  state_refuses: 'refused',
  clone_needs_snapshot: 'retryable',
  data_directory_locked: 'refused',
  data_directory_foreign: 'refused',
  data_directory_read_only: 'refused',
  format_newer: 'refused',
  area_missing: 'refused',
  area_foreign: 'refused',
  disk_full: 'retryable',
  journal_full: 'retryable',
  memory_exhausted: 'retryable',
  read_failed: 'fatal',
  write_failed: 'fatal',
  sync_failed: 'fatal',
  journal_failed: 'fatal',
  journal_damaged: 'damage',
  catalog_damaged: 'damage',
  checkpoint_damaged: 'damage',
  volume_missing: 'damage',
  volume_abnormal: 'refused',
  daemon_unreachable: 'unreachable',
  shutting_down: 'refused',
  timed_out: 'timed_out',
  source_unreadable: 'fatal',
  peer_unreachable: 'retryable',
  peer_silent: 'retryable',
  connection_lost: 'retryable',
  request_aborted: 'refused',
  certificate_refused: 'refused',
  protocol_violated: 'retryable',
  protocol_unsupported: 'refused',
  follower_not_allowed: 'refused',
  follow_loop: 'refused',
  follower_not_found: 'not_found',
  group_state: 'refused',
  group_opening: 'retryable',
  generation_newer: 'refused',
  diverged: 'refused',
  contents_diverged: 'refused',
  position_released: 'refused',
  cut_epoch_stale: 'refused',
  cut_round_lost: 'retryable',
  cut_not_found: 'not_found',
  cut_aborted: 'retryable',
  cut_half_promoted: 'retryable',
  marker_not_found: 'not_found',
  branch_not_found: 'not_found',
  view_not_found: 'not_found',
  check_failed: 'damage',
  branch_no_room: 'refused',
  record_unreadable: 'retryable',
  volume_unreadable: 'retryable',
  unsupported: 'refused',
  internal: 'fatal',
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof errorKinds;

export class JnbdError extends Error {
  readonly code: ErrorCode;
  readonly kind: ErrorKind;

  /** `message` names the thing, the value found, and what would be right. */
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'JnbdError';
    this.code = code;
    this.kind = errorKinds[code];
  }
}

/** The exit status of the CLI for each kind of error. */
export const exitCodes: Record<ErrorKind, number> = {
  retryable: 1,
  fatal: 1,
  usage: 2,
  not_found: 3,
  refused: 4,
  timed_out: 5,
  unreachable: 6,
  damage: 7,
};

export const errorCodes = Object.keys(errorKinds) as ErrorCode[];

/** The `code` of a system error (`ENOSPC`, `EIO`, ...), or `undefined`. */
export function systemErrorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const code: unknown = Reflect.get(error, 'code');
  if (typeof code !== 'string') return undefined;
  // Node has no name for some numbers (EDQUOT); they begin so.
  return /^(E\d|Unknown system error)/.test(code) ? (nameOf(error) ?? code) : code;
}

function nameOf(error: object): string | undefined {
  const number = -Number(Reflect.get(error, 'errno'));
  return Object.entries(constants.errno).find(([, one]) => one === number)?.[0];
}

/**
 * What the system refused (a full disk, a directory that cannot be made, a device that fails) as an
 * error that can be told: `code`, or disk_full. Undefined where the cause is something else.
 */
export function refusedBySystem(
  cause: unknown,
  code: ErrorCode,
  what: string,
): JnbdError | undefined {
  const systemCode = systemErrorCode(cause) ?? '';
  if (cause instanceof JnbdError || !/^E[A-Z0-9]+$/.test(systemCode)) return undefined;
  const isFull = systemCode === 'ENOSPC' || systemCode === 'EDQUOT';
  return new JnbdError(isFull ? 'disk_full' : code, `${what}: ${messageOf(cause)}`, { cause });
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
