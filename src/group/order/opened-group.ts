import type { Area } from '../../journal/area.ts';
import type { HeadFile } from '../../journal/head.ts';
import type { SegmentChain } from '../../journal/segment-chain.ts';
import type { Watermarks } from '../../journal/watermarks.ts';
import type { BlockIndex } from '../../volume/block-index.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { DeletedVolumes } from './deleted-volumes.ts';
import type { CutRecords } from '../cuts/cut-records.ts';
import type { FollowFile } from '../catalog/follow-file.ts';
import type { KnownPast } from '../views/group-views.ts';
import type { KnownFollowers } from '../followers/follower-cursor.ts';

/** What was found of a group in its directory, its journal recovered. */
export interface OpenedGroup {
  readonly catalog: Catalog;
  readonly areas: readonly Area[];
  readonly watermarks: Watermarks;
  readonly index: BlockIndex;
  readonly chain: SegmentChain;
  readonly head: HeadFile;
  readonly follow: FollowFile;
  readonly incarnation: number;
  readonly followers: KnownFollowers;
  readonly deleted: DeletedVolumes;
  readonly cuts: CutRecords;
  readonly past: KnownPast;
}
