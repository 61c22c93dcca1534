import { JnbdError } from '../../platform/errors.ts';
import type {
  CutDefinition,
  CutMarkerId,
  CutPlace,
  CutTold,
  PlaceMarker,
  TargetList,
} from '../protocol/wire-cuts.ts';
import type { CutPeers } from './cut-peers.ts';
import { compareMarkers } from '../../journal/cut-record.ts';
import { formatMarkerId, isMarker } from './marker-order.ts';
import {
  preparedMarker,
  promotedMarker,
  selectableMarkers,
  type ToldTarget,
} from './target-choice.ts';

export interface PromotionWish {
  readonly list: string;
  /** Its id or its name; undefined: the newest that can be had. */
  readonly marker: string | undefined;
  readonly isDryRun: boolean;
}

/** One secondary of the list, as it is promoted. */
export interface PromotedPlace {
  readonly place: CutPlace;
  readonly number: number;
  /** Received behind the marker, and saved as a branch. */
  readonly updatesBehind: number;
  /** Only of a dry run: why it would be refused, or empty. */
  readonly obstacle: string;
}

export interface Promotion {
  readonly result: 'done' | 'already_done' | 'would_be_done';
  readonly marker: CutMarkerId & { readonly name: string; readonly wallTimeMilliseconds: number };
  readonly places: readonly PromotedPlace[];
}

const askMilliseconds = 5000;
/** A hook may take half a minute, or longer. */
const prepareMilliseconds = 120_000;
const promoteMilliseconds = 120_000;

/**
 * Promotes all secondaries of a target list at one marker, or none: each says first that it can, and that is
 * durable. What a crash leaves is completed by the same command: whoever was promoted says at which marker, and
 * then the others are.
 *
 * Rejects with JnbdError: cut_not_found, marker_not_found, state_refuses, what a secondary says; then none was
 * promoted. With cut_half_promoted some were.
 */
export async function promoteTargets(
  definition: CutDefinition,
  peers: CutPeers,
  attempt: string,
  { list: listName, marker: wanted, isDryRun }: PromotionWish,
): Promise<Promotion> {
  const list = findList(definition, listName);
  const promotion = new TargetPromotion(definition, list, peers, attempt);
  const told = await promotion.survey();
  const marker = chooseMarker(definition, list, told, wanted);
  const isDone = told.every(({ state }) => state === 'promoted');
  const isBegun = told.some(({ state }) => state === 'promoted');
  const prepared = await promotion.prepare(marker, isDryRun || isDone, isBegun);
  const places = list.places.map((place, at): PromotedPlace => {
    const { number = 0, updatesBehind = 0, obstacle = '' } = prepared[at] ?? {};
    return { place, number, updatesBehind, obstacle };
  });
  if (isDone) return { result: 'already_done', marker, places };
  if (isDryRun) return { result: 'would_be_done', marker, places };
  await promotion.promote(marker);
  return { result: 'done', marker, places };
}

class TargetPromotion {
  readonly #definition: CutDefinition;
  readonly #list: TargetList;
  readonly #peers: CutPeers;
  readonly #attempt: string;

  constructor(definition: CutDefinition, list: TargetList, peers: CutPeers, attempt: string) {
    this.#definition = definition;
    this.#list = list;
    this.#peers = peers;
    this.#attempt = attempt;
  }

  survey(): Promise<ToldTarget[]> {
    return Promise.all(
      this.#list.places.map((place) => {
        const ask = { list: this.#list.name, groupId: place.groupId, isControlling: false };
        return this.#peers.askPlace(place, this.#cutId, 'targets', ask, askMilliseconds);
      }),
    );
  }

  async prepare(
    { epoch, sequence }: CutMarkerId,
    isDryRun: boolean,
    isBegun: boolean,
  ): Promise<CutTold<'prepare-promotion'>[]> {
    const list = this.#list.name;
    const asked = await Promise.allSettled(
      this.#list.places.map((place) => {
        const { groupId } = place;
        const ask = { list, groupId, epoch, sequence, attempt: this.#attempt, isDryRun };
        return this.#peers.askPlace(
          place,
          this.#cutId,
          'prepare-promotion',
          ask,
          prepareMilliseconds,
        );
      }),
    );
    const failures = asked.flatMap((each) =>
      each.status === 'rejected' ? [jnbdError(each.reason)] : [],
    );
    const [first] = failures;
    if (!first) return asked.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    if (!isDryRun && !isBegun) await this.#cancel();
    const texts = failures.map(({ message }) => message).join('; ');
    const so = isBegun
      ? 'some of them were promoted before: repeat the command once all can be'
      : 'none was promoted';
    throw new JnbdError(
      isBegun ? 'cut_half_promoted' : first.code,
      `target list ${list} of cut ${this.#definition.name} cannot be promoted at marker ${epoch}.${sequence}: ${texts}; ${so}`,
    );
  }

  /** All are prepared: from here on the command is completed, if need be by repeating it. */
  async promote(marker: CutMarkerId): Promise<void> {
    const list = this.#list.name;
    const asked = await Promise.allSettled(
      this.#list.places.map((place) => {
        const ask = { list, groupId: place.groupId, attempt: this.#attempt };
        return this.#peers.askPlace(place, this.#cutId, 'promote', ask, promoteMilliseconds);
      }),
    );
    const failures = asked.flatMap((each) =>
      each.status === 'rejected' ? [jnbdError(each.reason).message] : [],
    );
    if (failures.length === 0) return;
    throw new JnbdError(
      'cut_half_promoted',
      `not all of target list ${list} are known to be primary at marker ${formatMarkerId(marker)}: ${failures.join('; ')}; repeat the command: jnbd cut promote ${this.#definition.name} --targets ${list}`,
    );
  }

  /**
   * Back to following, where everybody says that nobody was promoted. Who is silent may have been, by another
   * command: then what is prepared stays, and is completed or deleted with the cut.
   */
  async #cancel(): Promise<void> {
    try {
      const told = await this.survey();
      if (told.some(({ state }) => state === 'promoted')) return;
      await Promise.all(
        this.#list.places.map((place) => {
          const ask = { list: this.#list.name, groupId: place.groupId, attempt: this.#attempt };
          return this.#peers.askPlace(place, this.#cutId, 'cancel-promotion', ask, askMilliseconds);
        }),
      );
    } catch (error) {
      jnbdError(error);
    }
  }

  get #cutId(): string {
    return this.#definition.cutId;
  }
}

/** Throws JnbdError: marker_not_found, state_refuses. */
function chooseMarker(
  definition: CutDefinition,
  list: TargetList,
  told: readonly ToldTarget[],
  wanted: string | undefined,
): Promotion['marker'] {
  const known = told.flatMap(({ markers }) => markers);
  const begun = promotedMarker(told) ?? (wanted === undefined ? preparedMarker(told) : null);
  if (begun) {
    const marker = known.find((each) => compareMarkers(each, begun) === 0);
    const chosen = { ...begun, name: '', wallTimeMilliseconds: 0, ...marker };
    if (wanted === undefined || isMarker(chosen, wanted)) return chosen;
    throw new JnbdError(
      'state_refuses',
      `target list ${list.name} of cut ${definition.name} is being promoted at marker ${formatMarkerId(begun)}, not ${wanted}: some of it is primary already; leave --marker out`,
    );
  }
  const possible = selectableMarkers(told);
  const marker = possible.findLast((each) => wanted === undefined || isMarker(each, wanted));
  if (marker) return marker;
  throw new JnbdError('marker_not_found', whyNone(definition, list, told, possible, wanted));
}

function whyNone(
  { name }: CutDefinition,
  list: TargetList,
  told: readonly ToldTarget[],
  possible: readonly PlaceMarker[],
  wanted: string | undefined,
): string {
  const waiting = told.flatMap(({ text }) => (text === '' ? [] : [text])).join('; ');
  const which = wanted === undefined ? 'any marker' : `marker ${wanted}`;
  const what = `target list ${list.name} of cut ${name} cannot be brought to ${which}: it has to stand in the journals of all, committed, and not behind what was applied`;
  const [oldest] = possible;
  const newest = possible.at(-1);
  const range =
    oldest && newest
      ? `; possible are ${formatMarkerId(oldest)} to ${formatMarkerId(newest)}`
      : '; none is possible now';
  return `${what}${waiting === '' ? '' : ` (${waiting})`}${range}`;
}

function findList({ name, targets }: CutDefinition, wanted: string): TargetList {
  const list = targets.find((each) => each.name === wanted);
  if (list) return list;
  const names = targets.map((each) => each.name).join(', ') || 'none';
  throw new JnbdError(
    'cut_not_found',
    `cut ${name} has no target list ${wanted}; it has: ${names}`,
  );
}

function jnbdError(error: unknown): JnbdError {
  if (!(error instanceof JnbdError)) throw error;
  return error;
}
