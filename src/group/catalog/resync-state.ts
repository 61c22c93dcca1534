import type { Preserving } from '../../volume/preserved-blocks.ts';
import type { FollowState } from './follow-file.ts';
import type { GroupFiles } from './group-files.ts';

/** What is saved before it is overwritten; undefined: nothing is to be. */
export function preservingOf(
  files: GroupFiles,
  follow: FollowState | undefined,
): Preserving | undefined {
  const consistent = follow?.resync?.consistentAt;
  if (!consistent) return undefined;
  const stored = consistent.volumes.filter(({ journalOnly }) => !journalOnly);
  return {
    directory: files.preserved,
    volumes: stored.map(({ id, sizeBytes }) => ({ id, sizeBytes })),
  };
}

/** The volume may be deleted, but what it held may be wanted back. */
export function keepsFile(follow: FollowState | undefined, volume: number): boolean {
  const volumes = follow?.resync?.consistentAt?.volumes ?? [];
  return volumes.some(({ id, journalOnly }) => id === volume && !journalOnly);
}
