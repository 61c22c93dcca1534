import type { FollowState } from '../../group/catalog/follow-file.ts';
import type { Group } from '../../group/order/group.ts';
import { JnbdError } from '../../platform/errors.ts';
import { unregister } from './registration.ts';
import type { TransportClient } from '../transport/transport.ts';
import type { Caller } from '../protocol/wire.ts';

/** Where a group was registered, and reads no more. */
function sourcesLeft(before: FollowState, now: FollowState | undefined): string[] {
  const urls = new Set([before.url, before.preferred ?? before.url]);
  if (now) {
    urls.delete(now.url);
    urls.delete(now.preferred ?? now.url);
  }
  return [...urls];
}

/** They are to keep nothing for this system any more. Resolves with a sentence for each that was not told. */
export async function leaveSources(
  connect: (url: string) => TransportClient,
  caller: Caller,
  { catalog: { groupId }, follow }: Group,
  before: FollowState,
): Promise<string[]> {
  const untold: string[] = [];
  for (const url of sourcesLeft(before, follow.state)) {
    const client = connect(url);
    try {
      await unregister(client, caller, groupId);
    } catch (error) {
      if (!(error instanceof JnbdError)) throw error;
      untold.push(
        `the system at ${url} was not told and keeps its journal for this one: ${error.message}`,
      );
    } finally {
      client.close();
    }
  }
  return untold;
}
