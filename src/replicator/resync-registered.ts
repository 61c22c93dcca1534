import type { Registered } from './wire-json.ts';

/** The answer to a follower that was left behind. */
export type ResyncRegistered = Registered & {
  readonly resync?: {
    readonly through: number;
    /** Volume, offset, length. */
    readonly regions: readonly (readonly [number, number, number])[];
  };
};
