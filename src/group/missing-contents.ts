import type { CatalogVolume } from './catalog.ts';
import type { FollowState } from './follow-file.ts';

export interface CopiedGroup {
  readonly catalog: { readonly volumes: readonly Pick<CatalogVolume, 'id' | 'sizeBytes'>[] };
  readonly follow: { readonly state: Pick<FollowState, 'copies'> | undefined };
}

/** Contents of volumes that this system still has to get from its source, holes included. */
export function missingContentsBytes({ catalog, follow }: CopiedGroup): number {
  return (follow.state?.copies ?? []).reduce((bytes, { volume: id, address }) => {
    const size = catalog.volumes.find((volume) => volume.id === id)?.sizeBytes ?? 0;
    return bytes + Math.max(0, size - address);
  }, 0);
}
