import type { PlantedMistake } from './mistake.ts';

/** Rule 32: what is compared, and what is told of it. */
export const verifyMistakes: readonly PlantedMistake[] = [
  {
    name: 'compared-at-another-position',
    rule: 32,
    does: 'one side compares the oldest snapshot that it has, in place of the one that was made to compare',
    profile: 'identity',
    edits: [
      {
        file: 'replicator/verify/verify-requests.ts',
        find: 'const contents = SnapshotContents.find(group, number, volume);',
        replace:
          'const contents = SnapshotContents.find(group, group.snapshots.living[0]?.number ?? number, volume);',
      },
    ],
  },
  {
    name: 'area-not-read',
    rule: 32,
    does: 'snapshots of users are not compared though that was asked for',
    profile: 'identity',
    edits: [
      {
        file: 'replicator/verify/verify-job.ts',
        find: '(each) => withSnapshots && each.number < snapshot.number && !isHidden(each),',
        replace: '(each) => withSnapshots && each.number > snapshot.number && !isHidden(each),',
      },
    ],
  },
  {
    name: 'difference-not-named',
    rule: 32,
    does: 'the last unit of what is compared at once counts as the same',
    profile: 'identity',
    edits: [
      {
        file: 'replicator/verify/view-comparison.ts',
        find: 'for (const unit of units) regions.add(volume, unit.offset, unit.length);',
        replace:
          'for (const unit of units.slice(1)) regions.add(volume, unit.offset, unit.length);',
      },
    ],
  },
  {
    name: 'records-not-proved',
    rule: 32,
    does: 'the journal is not read when a group is verified',
    profile: 'identity',
    edits: [
      {
        file: 'group/system/own-damages.ts',
        find: '    ...(await journalDamages(group, turn)),\n',
        replace: '    ...(await journalDamages(group, turn)).slice(0, 0),\n',
      },
    ],
  },
];
