import { formatSize } from '../platform/size-text.ts';
import type { ReadCommand } from './command.ts';
import { findGroup } from './found.ts';
import { table } from './texts.ts';

const head = ['SNAPSHOT', 'UPDATE', 'MADE', 'KEEPS', 'VOLUMES'];
const cloneHead = ['CLONE', 'OF', 'MADE', 'KEEPS', 'VOLUMES'];

function namesOf(volumes: readonly { readonly name: string }[]): string {
  return volumes.map(({ name }) => name).join(', ');
}

export const command: ReadCommand<'snapshot list'> = {
  kind: 'read',
  name: 'snapshot list',
  read: (status, { group }) => {
    const groups = group === undefined ? status.groups : [findGroup(status, group)];
    return {
      snapshots: groups.flatMap(({ name, snapshots }) =>
        snapshots.map((snapshot) => ({ group: name, ...snapshot })),
      ),
      clones: groups.flatMap(({ name, clones }) =>
        clones.map((clone) => ({ group: name, ...clone })),
      ),
    };
  },
  text: ({ snapshots, clones }) => {
    const tables = [
      ...(snapshots.length === 0
        ? []
        : [
            table(
              head,
              snapshots.map((each) => [
                `${each.group}@${each.name}${each.state === 'deleted' ? ' (deleted; needed by older ones)' : ''}`,
                String(each.number),
                each.createdAt,
                formatSize(each.preservedBytes),
                namesOf(each.volumes),
              ]),
            ),
          ]),
      ...(clones.length === 0
        ? []
        : [
            table(
              cloneHead,
              clones.map((each) => [
                `${each.group}@${each.name}${each.state === 'normal' ? '' : ` (${each.state})`}`,
                each.snapshot,
                each.createdAt,
                formatSize(each.allocatedBytes),
                namesOf(each.volumes),
              ]),
            ),
          ]),
    ];
    return tables.length === 0 ? 'no snapshots' : tables.join('\n\n');
  },
};
