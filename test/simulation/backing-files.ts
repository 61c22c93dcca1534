import { blockBytes } from '../../src/platform/limits.ts';
import { allocated, either } from './group-model.ts';
import type { JournalSimulation } from './journal-simulation.ts';

/** Holds the backing files themselves against the history, where everything is applied. */
export function checkBackingFiles(simulation: JournalSimulation): void {
  for (const group of simulation.groups.values()) {
    const model = simulation.tap.models.get(group.catalog.groupId);
    if (!model || !group.index.isEmpty || group.state !== 'normal') continue;
    for (const { catalog, backingFile } of group.volumes.values()) {
      const image = model.current.volumes.get(catalog.id);
      const node = simulation.machine.tree.find(backingFile);
      if (!image || catalog.journalOnly || !node || node.isDirectory) continue;
      const found = Buffer.alloc(image.contents.length);
      node.read(found, 0, found.length, 0);
      if (!found.equals(image.contents)) {
        simulation.report(
          `${backingFile} is not what update ${model.newest} left, though all is applied`,
        );
      }
      const wrong = image.space.findIndex((space, block) => {
        if (space === either) return false;
        const isThere = node.pagesNeeded(block * blockBytes, blockBytes) === 0;
        return isThere !== (space === allocated);
      });
      if (wrong !== -1) {
        const what = image.space[wrong] === allocated ? 'no space' : 'space';
        simulation.report(
          `${backingFile} has ${what} at ${wrong * blockBytes}, otherwise than what hosts asked for`,
        );
      }
    }
  }
  simulation.check();
}
