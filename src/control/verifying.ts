import type { Group } from '../group/order/group.ts';
import type { Verification, VerifyWish } from '../group/system/verification.ts';
import type { LastVerified } from '../group/system/verified-file.ts';

/** Whether systems have the same, as verbs and status need it; the replicator finds it out. */
export interface Verifying {
  /** Rejects with JnbdError where nothing was found out. */
  verify(wish: VerifyWish): Promise<Verification>;
  /** Undefined: none is under way. */
  progress(
    group: Group,
  ): { readonly comparedBytes: number; readonly totalBytes: number } | undefined;
  /** Undefined: there was none. */
  last(group: Group): LastVerified | undefined;
}
