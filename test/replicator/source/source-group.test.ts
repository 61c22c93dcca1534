import { expect, test } from 'vitest';
import { BatchBuffers } from '../../../src/replicator/source/batch-buffers.ts';
import { ColdReads } from '../../../src/replicator/source/source-files.ts';
import { SourceGroup } from '../../../src/replicator/source/source-group.ts';
import type { FromSource, GroupPicture } from '../../../src/replicator/source/source-messages.ts';
import { SimulatedMachine } from '../../journal/simulated-system.ts';

const picture: GroupPicture = {
  groupId: '00112233445566778899aabbccddeeff',
  name: 'g',
  role: 'primary',
  state: 'normal',
  stateText: '',
  isReadable: true,
  lineage: [],
  volumes: [],
  catalogNumber: 0,
  contentsFrom: 0,
  followers: [],
  path: [],
  copyBytesPerSecond: undefined,
};

test('a group that is closed leaves no trouble to the next one of its id', () => {
  const posted: FromSource[] = [];
  const { disk, clock } = new SimulatedMachine(1);
  const deps = {
    disk,
    clock,
    cold: new ColdReads(),
    buffers: new BatchBuffers(1, 4096),
  };
  const durable = new SharedArrayBuffer(8);
  const group = new SourceGroup(deps, picture, durable, (message) => posted.push(message));
  group.noteTrouble('its disk cannot be read');
  group.close();
  // Of a read that was under way.
  group.noteTrouble('its file is read no longer');
  const { groupId } = picture;
  expect(posted).toEqual([
    { kind: 'trouble', groupId, message: 'its disk cannot be read' },
    { kind: 'trouble', groupId, message: undefined },
  ]);
});
