import { assert } from '../../platform/assert.ts';
import type {
  NumberedRule,
  Protection,
  ProtectionMember,
  ProtectionRule,
  SynchronousSettings,
} from '../catalog/protection.ts';

/**
 * A synchronous follower, as its source's hosts see it. `catching-up`: not waited for yet. `in-step`: waited
 * for. `lost`: it was, and was not heard for too long, or takes nothing more, or has lost something.
 */
export type SynchronousState = 'catching-up' | 'in-step' | 'lost';

export const synchronousTransitions: Record<SynchronousState, readonly SynchronousState[]> = {
  'catching-up': ['in-step', 'lost'],
  'in-step': ['lost', 'catching-up'],
  lost: ['catching-up'],
};

export function changeSynchronousState(
  from: SynchronousState,
  to: SynchronousState,
): SynchronousState {
  const isKnown = synchronousTransitions[from].includes(to);
  assert(from === to || isKnown, `synchronous follower ${from} -> ${to}`);
  return to;
}

/** What the policy goes by, of one synchronous follower. */
export interface SynchronousView extends ProtectionMember {
  readonly state: SynchronousState;
  /** It has received all but a little, and is heard. */
  readonly isNear: boolean;
}

export type SynchronousDecision =
  | { readonly kind: 'none' }
  | { readonly kind: 'protect'; readonly rule: ProtectionRule }
  /** `members` are wanted again. */
  | {
      readonly kind: 'unprotect';
      readonly members: readonly ProtectionMember[];
      readonly lost: readonly ProtectionMember[];
    }
  /** Hosts wait: for those that are lost, or because fewer are left than are to be waited for. */
  | {
      readonly kind: 'stall';
      readonly lost: readonly ProtectionMember[];
      readonly needed: number;
    };

const nothing: SynchronousDecision = { kind: 'none' };

function nameOf({ systemId, name }: ProtectionMember): ProtectionMember {
  return { systemId, name };
}

/** What a primary is to record next, by who is in step. */
export function decideProtection(
  protection: Protection | undefined,
  followers: readonly SynchronousView[],
  settings: SynchronousSettings,
): SynchronousDecision {
  const isWanted = (id: number): boolean => followers.some(({ systemId }) => systemId === id);
  const wanted = (protection?.members ?? []).filter(({ systemId }) => isWanted(systemId));
  const near = followers.filter(({ isNear, state }) => isNear && state === 'catching-up');
  const { timeoutMilliseconds } = settings;
  if (protection?.state !== 'protected') {
    const members = near.map(nameOf);
    const isWhole = wanted.every((each) => near.some(({ systemId }) => systemId === each.systemId));
    const needed = settings.wait === 'all' ? members.length : settings.wait;
    const isEnough = members.length > 0 && members.length >= needed;
    const mayBePart = settings.wait !== 'all' || settings.onLoss === 'degrade';
    if (isEnough && (mayBePart || isWhole)) {
      return { kind: 'protect', rule: { members, needed, timeoutMilliseconds } };
    }
    // Whoever was removed is not missed any more.
    const lost = protection?.lost ?? [];
    const missed = lost.filter(({ systemId }) => isWanted(systemId));
    return missed.length < lost.length
      ? { kind: 'unprotect', members: wanted, lost: missed }
      : nothing;
  }
  const joining = near.filter((each) => !wanted.some(({ systemId }) => systemId === each.systemId));
  const returning = near.length > joining.length;
  const members = [...wanted, ...joining.map(nameOf)];
  if (members.length === 0) return { kind: 'unprotect', members: [], lost: [] };
  const needed = settings.wait === 'all' ? members.length : settings.wait;
  const isHere = ({ systemId }: ProtectionMember): boolean =>
    followers.some(
      (each) => each.systemId === systemId && (each.state === 'in-step' || near.includes(each)),
    );
  const lost = members.filter((member) => !isHere(member));
  const isShort = members.length - lost.length < needed;
  if (isShort && settings.onLoss === 'degrade') {
    const left = members.filter(isHere);
    // All is all that are there: they go on to have everything, and who is lost is told of by itself.
    return settings.wait === 'all' && left.length > 0
      ? { kind: 'protect', rule: { members: left, needed: left.length, timeoutMilliseconds } }
      : { kind: 'unprotect', members: wanted, lost };
  }
  if (members.length < needed) return { kind: 'stall', lost, needed };
  const rule = { members, needed, timeoutMilliseconds };
  if (returning || !isSameRule(protection, rule)) return { kind: 'protect', rule };
  return isShort ? { kind: 'stall', lost, needed } : nothing;
}

function isSameRule(before: ProtectionRule, now: ProtectionRule): boolean {
  return (
    before.needed === now.needed &&
    before.timeoutMilliseconds === now.timeoutMilliseconds &&
    before.members.length === now.members.length &&
    before.members.every(({ systemId }) => now.members.some((each) => each.systemId === systemId))
  );
}

/** Every rule that a member may go by: what is answered satisfies all of them. */
export function rulesOf(protection: Protection | undefined): readonly NumberedRule[] {
  if (!protection) return [];
  const { believed } = protection;
  if (protection.state === 'unprotected') return believed;
  const { number, members, needed, timeoutMilliseconds } = protection;
  return [...believed, { number, members, needed, timeoutMilliseconds }];
}
