import type { WhenFull } from '../../group/catalog/follow-file.ts';
import type { GroupFiles } from '../../group/catalog/group-files.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Disk } from '../../platform/disk.ts';
import type { JnbdError } from '../../platform/errors.ts';
import type { OwnLoad } from '../../platform/own-load.ts';
import type { PaceSettings } from '../../platform/pace-settings.ts';
import type { Caller } from '../protocol/wire.ts';
import type { Registered } from '../protocol/wire-json.ts';

export interface FollowerDependencies {
  readonly clock: Clock;
  readonly caller: Caller;
  /** Where other systems reach this one. */
  readonly listenPort: () => number;
  readonly load: () => OwnLoad;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
  readonly disk: Disk;
  readonly files: GroupFiles;
  /** This follower is closed once its resync has begun. Rejects with JnbdError, and then nothing has changed. */
  readonly beginResync: (registered: Registered, isWanted: () => boolean) => Promise<void>;
  /** The source did not let it register. */
  readonly refused: (error: JnbdError) => void;
}

export interface FollowerSettings {
  readonly pace: PaceSettings;
  /** Reads at the source at the same time. */
  readonly links: number;
  readonly whenFull: WhenFull;
}
