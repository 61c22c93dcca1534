import { strict as assert } from 'node:assert';
import { createClone, deleteClone } from '../../../src/group/volumes/clone-changes.ts';
import { must } from '../../../src/platform/assert.ts';
import { WrittenDisk } from '../../simulation/written-disk.ts';
import type { SnapshotModel } from './snapshot-model.ts';

const clonesPath = '/data/groups/g/clones';

/** One volume of a writable clone, or of a writable view. */
export class CloneModel extends WrittenDisk {
  readonly name: string;
  readonly volume: string;

  constructor(model: SnapshotModel, name: string, volume: string, contents: Buffer) {
    super(model.machine, `g/${volume}@${name}`, contents);
    this.name = name;
    this.volume = volume;
  }
}

/** Makes a clone of a snapshot of the model; what one volume of it must be. */
export function makeClone(
  model: SnapshotModel,
  snapshot: { readonly name: string; readonly number: number },
  name: string,
  volume: { readonly name: string; readonly sizeBytes: number },
): CloneModel {
  const { created } = createClone(model.machine.group(), snapshot.name, name);
  assert.equal(created, true);
  const contents = model.history.contents(`g/${volume.name}`, volume.sizeBytes, snapshot.number);
  return new CloneModel(model, name, volume.name, contents);
}

export async function removeClone(model: SnapshotModel, clone: CloneModel): Promise<void> {
  clone.close();
  const group = model.machine.group();
  const found = must(group.snapshots.clones.find(clone.name), 'it is there');
  await model.machine.run(deleteClone(group, found, true));
  assert.equal(model.machine.disk.existsSync(`${clonesPath}/${clone.name}`), false);
}

/** The process dies in some operation on files of clones, or others below `path`. */
export function dieAtClones(model: SnapshotModel, path = clonesPath): void {
  const { random, machine } = model.machine;
  machine.faults.add({
    kind: 'death',
    operation: random.pick(['write', 'write', 'sync', 'sync', 'entry'] as const),
    path,
    nth: random.between(1, random.pick([2, 10, 40])),
  });
}
