import type { Group } from '../../group/order/group.ts';
import { must } from '../../platform/assert.ts';
import type { ErrorKind, JnbdError } from '../../platform/errors.ts';
import type { FollowerState } from './follower-states.ts';

/** What the source refuses in these ways stays refused until somebody does something. */
const refusedKinds: readonly ErrorKind[] = ['refused', 'not_found', 'usage'];

/** Trying again does not help, as far as is known. */
export function needsCommand({ catalog }: Group, { code, kind }: JnbdError): boolean {
  // A system that stops comes back; an heir may not have applied yet that the group is its own.
  const isPassing = code === 'shutting_down' || (catalog.handedOver && code === 'follow_loop');
  return refusedKinds.includes(kind) && !isPassing;
}

/** Nothing is received: for a while, or, where it is refused, until somebody does something. */
export function raiseFollowCondition(group: Group, isRefused: boolean, error: JnbdError): void {
  const { name, conditions, follow } = group;
  const { url, sourceName } = must(follow.state, 'a group that follows has a source');
  const other = isRefused ? 'follow_interrupted' : 'follow_refused';
  conditions.clear(name, other, `group ${name} has another trouble: ${error.message}`);
  conditions.raise(name, {
    code: isRefused ? 'follow_refused' : 'follow_interrupted',
    severity: isRefused ? 'error' : 'warning',
    message: `group ${name} receives nothing from system ${sourceName} at ${url}: ${error.message}`,
    nextCommand: nextCommand(group, url, error),
  });
}

function nextCommand({ name, catalog }: Group, url: string, { code }: JnbdError): string {
  if (code === 'contents_diverged') return `jnbd follow ${name} --from ${url} --rewind`;
  if (code !== 'position_released') return `jnbd status --connect ${url}`;
  if (catalog.journalOnly) return `jnbd follow ${name} --from ${url} --rewind`;
  return `jnbd group delete ${name} --force, then jnbd follow ${name} --from ${url}`;
}

/** It is received again, or is not to be. */
export function clearFollowConditions({ name, conditions }: Group, state: FollowerState): void {
  const text = `group ${name} ${state === 'reading' ? 'receives again' : 'is not to receive'}`;
  conditions.clear(name, 'follow_interrupted', text);
  conditions.clear(name, 'follow_refused', text);
}
