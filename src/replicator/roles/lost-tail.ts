import type { Clock } from '../../platform/clock.ts';
import { JnbdError } from '../../platform/errors.ts';
import { aheadUpdatesMax } from '../../platform/limits.ts';
import { generationOf, stretchOf } from '../../group/catalog/lineage.ts';
import type { Group } from '../../group/order/group.ts';
import type { SourceChoice } from '../peers/follow-request.ts';
import { AdmissionRefused } from '../protocol/wire-json.ts';

/** When it failed it is tried again after so long. */
const againMilliseconds = 5000;

export interface LostTailsDependencies {
  readonly clock: Clock;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
}

/**
 * A source may lose with the power what it sent before it was durable there (SAFETY 22), and number other
 * updates so. Nobody was answered for what it lost, and neither was it applied here or passed on: this system
 * goes back behind it by itself, and what it had is a branch.
 */
export class LostTails {
  readonly #deps: LostTailsDependencies;
  readonly #goBack: (group: Group, next: SourceChoice) => Promise<unknown>;
  readonly #notBefore = new Map<string, number>();

  /** `goBack`: rejects with JnbdError, and then the group follows as before. */
  constructor(
    deps: LostTailsDependencies,
    goBack: (group: Group, next: SourceChoice) => Promise<unknown>,
  ) {
    this.#deps = deps;
    this.#goBack = goBack;
  }

  /** The source refuses. False: for another reason, or going back has just failed. */
  takesUp(group: Group, error: JnbdError): boolean {
    const fork = lostBehind(group, error);
    const now = this.#deps.clock.monotonicMilliseconds();
    if (fork === undefined || now < (this.#notBefore.get(group.name) ?? 0)) return false;
    this.#notBefore.set(group.name, now + againMilliseconds);
    this.#run(group, fork).catch((failure: unknown) => {
      if (!(failure instanceof JnbdError)) throw failure;
      const text = `group ${group.name} cannot go back to update ${fork} yet: ${failure.message}`;
      this.#deps.event('rewind_failed', text, { group: group.name });
    });
    return true;
  }

  /** Written down first: on the way back it is applied, and then looks like what the source once had. */
  async #run(group: Group, fork: number): Promise<void> {
    const { state } = group.follow;
    if (!state) return;
    const { lostBehind: _before, ...next } = state;
    group.follow.write({ ...next, lostBehind: fork });
    await this.#goBack(group, next);
  }
}

/** The last update of this system that its source has too, where what is behind it was lost there. */
export function lostBehind(
  { role, catalog, follow, replies, watermarks }: Group,
  error: JnbdError,
): number | undefined {
  if (!(error instanceof AdmissionRefused) || error.code !== 'diverged') return undefined;
  const { fork, lineage = [] } = error.details;
  const { state } = follow;
  if (!state || fork === undefined || role !== 'secondary' || catalog.journalOnly) return undefined;
  const { newest } = watermarks;
  const { confirmed } = replies.gate;
  const isUnconfirmed = Number.isFinite(confirmed) && confirmed <= fork;
  if (!isUnconfirmed && state.lostBehind !== fork) return undefined;
  if (newest <= fork || newest - fork > aheadUpdatesMax) return undefined;
  // Another system's word would be another history's.
  const stretch = stretchOf(catalog.lineage, newest);
  const isItsOwn =
    stretch !== undefined &&
    stretch.system === state.sourceSystemId &&
    stretch.generation === generationOf(lineage) &&
    stretch === stretchOf(catalog.lineage, fork + 1);
  return isItsOwn ? fork : undefined;
}
