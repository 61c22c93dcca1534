import type { SimulatedFile } from './simulated-file.ts';

/** What the engine says of itself, where the disk does not show it. */
export interface EngineView {
  /** The last number of the batch being applied; `undefined` while the group is being opened. */
  batch(group: string): number | undefined;
  durable(group: string): number | undefined;
  /** Up to this records must be there: all of them, unless the group is still being recovered. */
  needed(groupId: string): number;
  /** A sync failed of what is in a journal: what only the page cache has of it may be gone. */
  journalSyncFailed(): void;
  /** Whether the file still has its name. */
  hasName(path: string, file: SimulatedFile): boolean;
}
