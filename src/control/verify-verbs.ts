import type { VerifiedResult } from '../group/system/verified-file.ts';
import type { Verification } from '../group/system/verification.ts';
import type { Parameters, Result } from './schema.ts';
import type { VerifyingSources } from './verify-status.ts';

const timeoutMillisecondsDefault = 10 * 60_000;

/** What is given with a verb that takes long. */
interface LongCall {
  readonly signal: AbortSignal;
  readonly progress: (progress: { readonly bytes: number; readonly totalBytes: number }) => void;
}

/** Carries out `verify`. */
export async function verify(
  { verifying }: VerifyingSources,
  parameters: Parameters<'verify'>,
  call: LongCall,
): Promise<Result<'verify'>> {
  const { group, snapshots = false, repairFrom, timeout } = parameters;
  const { systems, damages, ...verified } = await verifying.verify({
    group,
    withSnapshots: snapshots,
    repairFrom,
    timeoutMilliseconds: timeout ?? timeoutMillisecondsDefault,
    signal: call.signal,
    progress: (bytes, totalBytes) => call.progress({ bytes, totalBytes }),
  });
  return {
    ...verified,
    result: resultOf({ systems, damages }),
    systems: systems.map((each) => ({ ...each, differences: [...each.differences] })),
    damages: [...damages],
  };
}

function resultOf({ systems, damages }: Pick<Verification, 'systems' | 'damages'>): VerifiedResult {
  const has = (wanted: string): boolean => systems.some(({ result }) => result === wanted);
  if (has('different')) return 'different';
  if (damages.length > 0) return 'damaged';
  return has('failed') ? 'failed' : 'same';
}
