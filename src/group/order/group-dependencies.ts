import type { ReceiveSlabPool } from '../../journal/receive-slab.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Disk } from '../../platform/disk.ts';
import type { Random } from '../../platform/random.ts';
import type { WorkerPort } from '../../platform/worker-port.ts';
import type { FromApply, ToApply } from '../../volume/apply-messages.ts';

/** What a group needs of the world; the simulation replaces all of it. */
export interface GroupDependencies {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly pool: ReceiveSlabPool;
  /** Whose stretches of the lineage begin here. */
  readonly systemId: number;
  readonly startApply: (failed: (error: Error) => void) => WorkerPort<ToApply, FromApply>;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
  /** A worker ended by itself: nothing can be promised any more. */
  readonly fatal: (error: Error) => void;
}

export interface GroupLimits {
  /** Nodes of one table of the index; a power of two up to 2^20. */
  readonly tableNodesMax: number;
  readonly unsyncedBytesMax: number;
  /** Between two points of the checksums, while anything is written. */
  readonly checksumPointMilliseconds: number;
}
