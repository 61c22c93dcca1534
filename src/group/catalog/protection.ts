import { type Lineage, stretchOf } from './lineage.ts';

/** A synchronous follower, as a record names it. */
export interface ProtectionMember {
  readonly systemId: number;
  readonly name: string;
}

/** On whom replies to hosts wait: at least `needed` of the members have durably what was answered. */
export interface ProtectionRule {
  readonly members: readonly ProtectionMember[];
  readonly needed: number;
  /** A member that the source does not hear for longer than this goes by the rule no more. */
  readonly timeoutMilliseconds: number;
}

/** A rule, and the update that began it. */
export interface NumberedRule extends ProtectionRule {
  readonly number: number;
}

/**
 * Whether what hosts were answered is on enough followers, from the record on that says so.
 *
 * `protected`: every update from `number` on that was answered is durable on `needed` of `members`.
 * `unprotected`: updates behind `behind` were answered without that, or may have been.
 * `after`: of the newest change of the catalog before it that was of another kind.
 */
export type Protection =
  | (NumberedRule & {
      readonly state: 'protected';
      readonly after?: number;
      readonly atMilliseconds: number;
      readonly believed: readonly NumberedRule[];
    })
  | {
      readonly state: 'unprotected';
      readonly number: number;
      readonly after?: number;
      readonly behind: number;
      /** Who was waited for, so many are wanted again; and whom it was lost for, if for anybody. */
      readonly members: readonly ProtectionMember[];
      readonly lost: readonly ProtectionMember[];
      readonly atMilliseconds: number;
      readonly believed: readonly NumberedRule[];
    };

/** `believed`: rules of before that a member may still go by, because it has not heard of this one. */
export type ProtectionChange =
  | Omit<Extract<Protection, { state: 'protected' }>, 'number' | 'after'>
  | Omit<Extract<Protection, { state: 'unprotected' }>, 'number' | 'after'>;

/** By the settings of the group. */
export interface SynchronousSettings {
  /** How many synchronous followers a reply waits for. */
  readonly wait: number | 'all';
  readonly timeoutMilliseconds: number;
  readonly onLoss: 'degrade' | 'stall';
}

export const synchronousDefaults: SynchronousSettings = {
  wait: 'all',
  timeoutMilliseconds: 5000,
  onLoss: 'degrade',
};

/** Another system was promoted since that record: it says nothing of what hosts were answered there. */
export function isOfEarlierGeneration(
  { number }: { readonly number: number },
  lineage: Lineage,
): boolean {
  return stretchOf(lineage, number)?.generation !== lineage.at(-1)?.generation;
}

/**
 * How many members a system has to hear, itself included, to be sure that the furthest of them has every
 * update that was answered.
 */
export function heardNeeded({ members, needed }: ProtectionRule): number {
  return members.length - needed + 1;
}

/** The highest number that `needed` of the members have durably, by what each is known to have. */
export function coveredBy(
  { members, needed }: ProtectionRule,
  receivedBy: (systemId: number) => number,
): number {
  const received = members.map(({ systemId }) => receivedBy(systemId)).sort((a, b) => b - a);
  return received[needed - 1] ?? 0;
}
