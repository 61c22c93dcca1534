import { changes } from './profiles/changes.ts';
import { commands } from './profiles/commands.ts';
import { crashes } from './profiles/crashes.ts';
import { damage } from './profiles/damage.ts';
import { deaths } from './profiles/deaths.ts';
import { errors } from './profiles/errors.ts';
import { full } from './profiles/full.ts';
import { journalOnly } from './profiles/journal-only.ts';
import type { Profile } from './profiles/profile.ts';
import { rounds } from './profiles/rounds.ts';
import { snapshots } from './profiles/snapshots.ts';
import { space } from './profiles/space.ts';
import { starts } from './profiles/starts.ts';

export const profiles = {
  crashes,
  deaths,
  errors,
  rounds,
  space,
  damage,
  journalOnly,
  changes,
  commands,
  starts,
  full,
  snapshots,
} as const satisfies Record<string, Profile>;

export type JournalProfileName = keyof typeof profiles;
/** One after the other, by seed, where none is named. */
export const profileNames = (Object.keys(profiles) as JournalProfileName[]).filter(
  (name) => name !== 'snapshots',
);

/**
 * `fleet`: several systems, in place of one daemon and its hosts; some may be waited for by hosts. `cuts`:
 * several primaries with a secondary each, under one series of markers. `identity`: a primary and who follows it have the same snapshots, clones of
 * them, and are compared.
 */
export type ProfileName = JournalProfileName | 'fleet' | 'synchronousFleet' | 'cuts' | 'identity';
export const allProfileNames: readonly ProfileName[] = [
  ...profileNames,
  'snapshots',
  'fleet',
  'synchronousFleet',
  'cuts',
  'identity',
];
