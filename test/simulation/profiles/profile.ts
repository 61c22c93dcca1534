import type { Campaign } from '../campaign.ts';

/** What a seed's campaign is mostly about. */
export interface Profile {
  readonly bytesMax: number;
  /** How many, where nothing else is said. */
  readonly steps?: number;
  readonly cacheMissChance?: number;
  setUp(campaign: Campaign): Promise<void>;
  step(campaign: Campaign): Promise<void>;
}
