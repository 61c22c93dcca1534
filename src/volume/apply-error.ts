import { InvariantError } from '../platform/assert.ts';
import { messageOf } from '../platform/errors.ts';
import type { ApplyFailurePart } from './apply-messages.ts';

/** A system call that failed on the way from the journal to a volume. */
export class ApplyError extends Error {
  readonly part: ApplyFailurePart;
  readonly volume: number | undefined;

  constructor(part: ApplyFailurePart, volume: number | undefined, cause: unknown) {
    super(messageOf(cause), { cause });
    this.part = part;
    this.volume = volume;
  }
}

/** Says of what `run` throws which part, and which volume, it is about. */
export function guard<T>(part: ApplyFailurePart, volume: number | undefined, run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw asApplyError(part, volume, error);
  }
}

/** What `guard` throws, for those who catch by themselves: what is done for each block makes no function. */
export function asApplyError(
  part: ApplyFailurePart,
  volume: number | undefined,
  error: unknown,
): Error {
  if (error instanceof ApplyError || error instanceof InvariantError) return error;
  return new ApplyError(part, volume, error);
}
