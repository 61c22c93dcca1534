import type { Clock } from '../platform/clock.ts';
import { JnbdError } from '../platform/errors.ts';
import { refuseScheduledName } from './snapshot-verbs.ts';
import type { Cutting } from './cutting.ts';
import type { Parameters, Result } from './schema.ts';
import type { MarkerStatus } from './schema-cut-status.ts';

export interface CutVerbSources {
  readonly cutting: Cutting;
  readonly clock: Clock;
}

const intervalMillisecondsDefault = 1000;
const intervalMillisecondsMin = 10;
const roundLimitMillisecondsDefault = 50;
const roundLimitMillisecondsMax = 10_000;
/** Wall clocks jump: it is looked at again so often. */
const lookMilliseconds = 1000;

/** Carries out the verbs about consistent cuts over several systems. */
export class CutVerbs {
  readonly #sources: CutVerbSources;

  constructor(sources: CutVerbSources) {
    this.#sources = sources;
  }

  async create(parameters: Parameters<'cut create'>): Promise<Result<'cut create'>> {
    const { cut: name, member = [], targets = [], interval, roundLimit } = parameters;
    const { cutting } = this.#sources;
    const intervalMilliseconds =
      interval === 'off' ? null : (interval ?? intervalMillisecondsDefault);
    const roundLimitMilliseconds = roundLimit ?? roundLimitMillisecondsDefault;
    checkTimes(name, intervalMilliseconds, roundLimitMilliseconds);
    for (const list of targets) {
      if (list.places.length === member.length) continue;
      throw new JnbdError(
        'argument_invalid',
        `cut create ${name}: target list ${list.name} has ${list.places.length} secondaries for ${member.length} members; name one for each, in their order`,
      );
    }
    if (member.length === 0) {
      const text = `cut create ${name}: name its members, each by --member URL/GROUP`;
      throw new JnbdError('argument_invalid', text);
    }
    const changed = await cutting.create({
      name,
      members: member,
      targets,
      intervalMilliseconds,
      roundLimitMilliseconds,
    });
    return { result: changed ? 'done' : 'already_done', cut: await cutting.report(name) };
  }

  async mark(
    { cut, name = '', at, snapshot }: Parameters<'cut mark'>,
    signal: AbortSignal,
  ): Promise<Result<'cut mark'>> {
    if (at !== undefined) await this.#until(at, signal);
    if (snapshot !== undefined) refuseScheduledName(snapshot);
    const marker = await this.#sources.cutting.mark(cut, name, snapshot);
    return { result: 'done', marker: this.#status(marker), snapshot: snapshot ?? null };
  }

  async status({ cut }: Parameters<'cut status'>): Promise<Result<'cut status'>> {
    const { cutting } = this.#sources;
    const names = cut === undefined ? cutting.names() : [cut];
    return { cuts: await Promise.all(names.map((name) => cutting.report(name))) };
  }

  async promote(parameters: Parameters<'cut promote'>): Promise<Result<'cut promote'>> {
    const { cut, targets: list, marker, dryRun = false } = parameters;
    const wish = { list, marker, isDryRun: dryRun };
    const promoted = await this.#sources.cutting.promote(cut, wish);
    return {
      result: promoted.result,
      marker: this.#status(promoted.marker),
      groups: promoted.places.map(({ place, number, updatesBehind, obstacle }) => ({
        system: place.systemName,
        url: place.url,
        group: place.group,
        position: number,
        leftOut: updatesBehind,
        obstacle,
      })),
    };
  }

  async delete({ cut }: Parameters<'cut delete'>): Promise<Result<'cut delete'>> {
    const unreached = await this.#sources.cutting.delete(cut);
    return {
      result: unreached === undefined ? 'already_done' : 'done',
      unreached: [...(unreached ?? [])],
    };
  }

  #status({
    epoch,
    sequence,
    name,
    wallTimeMilliseconds,
  }: Awaited<ReturnType<Cutting['mark']>>): MarkerStatus {
    const now = this.#sources.clock.wallMilliseconds();
    return {
      id: `${epoch}.${sequence}`,
      name,
      at: new Date(wallTimeMilliseconds).toISOString(),
      ageSeconds: Math.max(0, now - wallTimeMilliseconds) / 1000,
    };
  }

  async #until(at: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#sources;
    if (at < clock.wallMilliseconds()) {
      const text = `cut mark: ${new Date(at).toISOString()} is over; write a time to come`;
      throw new JnbdError('argument_invalid', text);
    }
    for (;;) {
      const left = at - clock.wallMilliseconds();
      if (left <= 0) return;
      await new Promise<void>((resolve) => clock.after(Math.min(left, lookMilliseconds), resolve));
      if (signal.aborted) throw new JnbdError('request_aborted', 'cut mark: it was given up');
    }
  }
}

/** Throws JnbdError argument_invalid. */
function checkTimes(name: string, interval: number | null, roundLimit: number): void {
  if (interval !== null && interval < intervalMillisecondsMin) {
    throw new JnbdError(
      'argument_invalid',
      `cut create ${name}: --interval ${interval}ms is too short; at least ${intervalMillisecondsMin}ms`,
    );
  }
  if (roundLimit >= 1 && roundLimit <= roundLimitMillisecondsMax) return;
  throw new JnbdError(
    'argument_invalid',
    `cut create ${name}: --round-limit ${roundLimit}ms is not from 1ms to ${roundLimitMillisecondsMax / 1000}s`,
  );
}
