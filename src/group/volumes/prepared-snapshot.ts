import type { Disk } from '../../platform/disk.ts';
import { JnbdError } from '../../platform/errors.ts';
import type { GroupFiles } from '../catalog/group-files.ts';
import { refuseRollingBack } from '../apply/volume.ts';
import { checkName } from '../catalog/names.ts';
import type { CatalogSnapshot } from '../catalog/snapshots.ts';
import { CatalogChanges } from '../order/catalog-changes.ts';
import type { Group } from '../order/group.ts';
import { NewSnapshot } from './new-snapshot.ts';
import { deleteSnapshot, findSnapshot, refuseNameOfClone } from './snapshot-changes.ts';

/** A snapshot that can be numbered at once; until then no other change of the catalog is made. */
export interface PreparedSnapshot {
  readonly name: string;
  /** Of its record. */
  readonly recordBytes: number;
  /** Numbers it, in this turn. Journal and index have admitted its record. */
  stamp(): void;
  /** It is not wanted any more: it is deleted where it was made. */
  giveUp(): void;
}

/**
 * Makes ready what a snapshot needs, for so long. Rejects with JnbdError: exists_differently, state_refuses, disk_full,
 * write_failed.
 */
export function prepareSnapshot(
  disk: Disk,
  group: Group,
  files: GroupFiles,
  name: string,
  milliseconds: number,
): Promise<PreparedSnapshot> {
  checkName('snapshot', name);
  return new Promise((prepared, refused) => {
    void group.changes.inTurn(async () => {
      try {
        if (findSnapshot(group, name)) {
          const text = `snapshot ${group.name}@${name} exists, of another time`;
          throw new JnbdError('exists_differently', text);
        }
        refuseNameOfClone(group, name);
        refuseRollingBack(group.name, group.volumes.values());
        const made = new NewSnapshot(disk, group, files, name);
        await new Promise<void>((over) => prepared(ready(group, made, milliseconds, over)));
      } catch (error) {
        refused(error as Error);
      }
    });
  });
}

function ready(
  group: Group,
  made: NewSnapshot,
  milliseconds: number,
  over: () => void,
): PreparedSnapshot {
  let holds: Promise<void> | undefined;
  let isGivenUp = false;
  const drop = (): void => {
    if (isGivenUp || holds) return;
    isGivenUp = true;
    made.drop();
    over();
  };
  const timer = group.clock.after(milliseconds, drop);
  return {
    name: made.name,
    recordBytes: CatalogChanges.recordBytes(made.change),
    stamp() {
      if (isGivenUp || holds) {
        const text = `snapshot ${group.name}@${made.name} was not made ready, or too long ago`;
        throw new JnbdError('state_refuses', text);
      }
      timer.cancel();
      made.numbering();
      holds = group.changes.append(group.journal, group.index, made.change);
      // A journal that fails fails the marker before it, too.
      holds.then(over, over);
    },
    giveUp() {
      if (!holds) drop();
      else if (!isGivenUp)
        void holds.then(
          () => removeAgain(group, made),
          () => undefined,
        );
      isGivenUp = true;
    },
  };
}

async function removeAgain(group: Group, { name, number }: NewSnapshot): Promise<void> {
  try {
    // Another one of that name is not this one.
    const found: CatalogSnapshot | undefined = findSnapshot(group, name);
    if (found?.number === number) await deleteSnapshot(group, name);
  } catch (error) {
    // Somebody reads it, or the group is not what it was: it stays until it is deleted by hand.
    if (!(error instanceof JnbdError)) throw error;
  }
}
