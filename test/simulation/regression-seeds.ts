import { type ProfileName, profileNames } from './profiles.ts';

export interface RegressionSeed {
  readonly seed: number;
  readonly profile: ProfileName;
  /** Why it failed. */
  readonly found: string;
}

/**
 * Seeds that failed once. What a seed does changes with its profile, so each defect of the engine has a
 * test of its own elsewhere; these say where the simulation met it.
 */
export const regressionSeeds: readonly RegressionSeed[] = [
  {
    seed: 10,
    profile: 'errors',
    found: 'a checkpoint that only the page cache had was believed, and segments were used again',
  },
  {
    seed: 12,
    profile: 'space',
    found: 'a small journal filled up by restarts alone, with what was not checkpointed yet',
  },
  { seed: 16, profile: 'crashes', found: 'as 12, with segments that held nothing but marks' },
  { seed: 18, profile: 'errors', found: 'as 12, and the start gave up with journal_full' },
  {
    seed: 23,
    profile: 'changes',
    found:
      'who waited for a sync in an area that was left for being slow waited for the next write',
  },
  {
    seed: 66,
    profile: 'errors',
    found: 'each life without a write kept a segment for its mark, until none was free',
  },
  { seed: 68, profile: 'space', found: 'as 66' },
  {
    seed: 146,
    profile: 'errors',
    found: 'a segment whose header failed to sync was taken for damage at every start',
  },
  {
    seed: 31,
    profile: 'changes',
    found: 'the observer did not know that records move before their header (the engine was right)',
  },
  {
    seed: 14,
    profile: 'space',
    found: 'WRITE_ZEROES that stays allocated was accepted without space for it',
  },
  {
    seed: 42,
    profile: 'errors',
    found: 'one volume file that could not be opened kept the system from starting',
  },
  { seed: 106, profile: 'errors', found: 'as 42' },
  {
    seed: 101,
    profile: 'errors',
    found: 'a segment whose header could not be written left its sequence to the next one',
  },
  {
    seed: 184,
    profile: 'commands',
    found: 'a group whose deletion had failed was said to be deleted, and could come back',
  },
  {
    seed: 3,
    profile: 'rounds',
    found: 'segments that a read had held were not released when it was done',
  },
  {
    seed: 35,
    profile: 'errors',
    found:
      'the observer believed in a segment whose header was lost with power (the engine was right)',
  },
  {
    seed: 6,
    profile: 'errors',
    found: 'a read showed what stood where a journal that had failed never wrote',
  },
  {
    seed: 313,
    profile: 'damage',
    found:
      'lives without a write in an area that was not there then gave more sequences than were left out',
  },
  {
    seed: 406,
    profile: 'full',
    found: 'syncs that stood still held up the thread, and all groups, one after the other',
  },
  {
    seed: 118,
    profile: 'fleet',
    found: 'a source did not know of a volume that it had made, and gave nothing of it',
  },
  {
    seed: 512,
    profile: 'fleet',
    found:
      'a follower without room for a new volume applied what was written to it to nothing, and lost it',
  },
  { seed: 531, profile: 'fleet', found: 'as 512' },
  {
    seed: 35,
    profile: 'fleet',
    found: 'a volume file that a start had made was not on the device, and the catalog named it',
  },
  {
    seed: 121,
    profile: 'fleet',
    found: 'what a system needed that may follow next was released with the hold of another one',
  },
  {
    seed: 568,
    profile: 'fleet',
    found: 'an heir that read late that a group was its own took over beside its giver',
  },
  {
    seed: 225,
    profile: 'fleet',
    found: 'what a group that was closed could not read was told of the next one of its id',
  },
  {
    seed: 321,
    profile: 'fleet',
    found:
      'the model wanted kept what was gone when somebody was told of by one that came back (the engine was right)',
  },
  {
    seed: 1262,
    profile: 'fleet',
    found:
      'an heir told that its group was taken back until the one that it followed was written to',
  },
  {
    seed: 1550,
    profile: 'fleet',
    found: 'a system that came back from a branch stayed suspended, which nobody could see before',
  },
  {
    seed: 2085,
    profile: 'fleet',
    found:
      'the model wanted kept what a copy never had, for a system expected there (the engine was right)',
  },
  {
    seed: 2973,
    profile: 'fleet',
    found:
      'a primary with a full journal was not served after its second crash, and nobody could empty it',
  },
  {
    seed: 3560,
    profile: 'fleet',
    found: 'a system was promoted that could not make a volume yet: the next one got the same id',
  },
  {
    seed: 19,
    profile: 'fleet',
    found: 'a disk that did not tell how much the past takes ended the process',
  },
  {
    seed: 33,
    profile: 'fleet',
    found: 'a group that promised no history any more was still said to have failed to keep it',
  },
  {
    seed: 5300,
    profile: 'fleet',
    found:
      'a follower left while somebody asked in its name, and its code was wanted (the engine was right)',
  },
  {
    seed: 5991,
    profile: 'fleet',
    found: 'a volume that could not be opened did not say that the next start looks at it again',
  },
  {
    seed: 6359,
    profile: 'fleet',
    found:
      'the model did not wait for a source that copied at 64 KiB a second (the engine was right)',
  },
  {
    seed: 5,
    profile: 'synchronousFleet',
    found:
      'the model took what a primary recorded meanwhile for a difference (the engine was right)',
  },
  {
    seed: 29,
    profile: 'synchronousFleet',
    found: 'the model held to a primary that somebody with a newer generation joined (as 5)',
  },
  {
    seed: 16,
    profile: 'snapshots',
    found: 'a view was not read at the moment at which what is overwritten began to be kept anew',
  },
  {
    seed: 26,
    profile: 'identity',
    found: 'who read a snapshot on a follower got EIO when the next one was received meanwhile',
  },
  {
    seed: 4208,
    profile: 'identity',
    found:
      'the model wanted a bit named in a record that a checkpoint had released (the engine was right)',
  },
  { seed: 4237, profile: 'identity', found: 'as 4208' },
  {
    seed: 2,
    profile: 'cuts',
    found:
      'a target list could not be promoted below a record of whom the hosts of a primary waited for',
  },
  {
    seed: 400,
    profile: 'synchronousFleet',
    found:
      'what a follower had of the history before a promotion acknowledged updates of the new one',
  },
];

/**
 * Those that are left out by a run of the seeds from 0 up to `count`, with the profiles that follow from them,
 * and of several systems up to the other counts.
 */
export function seedsBeside(run: {
  readonly count: number;
  readonly fleetCount: number;
  /** Of a fleet that hosts wait for. */
  readonly synchronousCount: number;
  readonly cutCount: number;
  readonly snapshotCount: number;
  readonly identityCount: number;
}): RegressionSeed[] {
  return regressionSeeds.filter(({ seed, profile }) => {
    if (profile === 'fleet') return seed >= run.fleetCount;
    if (profile === 'synchronousFleet') return seed >= run.synchronousCount;
    if (profile === 'cuts') return seed >= run.cutCount;
    if (profile === 'snapshots') return seed >= run.snapshotCount;
    if (profile === 'identity') return seed >= run.identityCount;
    return seed >= run.count || profileNames[seed % profileNames.length] !== profile;
  });
}
