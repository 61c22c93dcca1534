/**
 * Writes test/fixtures/journal-format-1.gz: a data directory of format 1 as a crash left it. Run once,
 * before the format was released; the file is frozen since, and a later release reads it as it is.
 */
import { writeFileSync } from 'node:fs';
import { deleteVolume, resizeVolume } from '../src/group/volumes/volume-changes.ts';
import { must } from '../src/platform/assert.ts';
import { MiB } from '../src/platform/limits.ts';
import { grownBytes, moved, plain, sizeBytes, steps } from '../test/fixtures/journal-format-1.ts';
import { dump } from '../test/fixtures/sparse-dump.ts';
import { SimulatedMachine } from '../test/journal/simulated-system.ts';
import { TestHost } from '../test/journal/test-host.ts';

const journalCapacityBytes = 64 * MiB;

async function write(host: TestHost, from: number, to: number): Promise<void> {
  for (const { effect, offset, length, fill } of steps.slice(from, to)) {
    if (effect === 'write') await host.write(offset, new Uint8Array(length).fill(fill));
    else await host.clear(effect, offset, length);
  }
}

const machine = new SimulatedMachine('journal format 1');
await machine.start();
// Not tight, so that the second life makes no checkpoint.
await machine.createGroup({ journalCapacityBytes: 192 * MiB }, 'plain');
await machine.createVolume('a', sizeBytes, false, 'plain');
await machine.createVolume('gone', sizeBytes, false, 'plain');
const group = machine.group('plain');
await machine.run(deleteVolume(group, 'gone', true));
await machine.run(resizeVolume(group, must(group.volumes.get('a'), 'it was made'), grownBytes));
await machine.createVolume('b', sizeBytes, true, 'plain');
let host = new TestHost(machine, 'plain/a');
let silent = new TestHost(machine, 'plain/b');
await silent.write(0, new Uint8Array(1000).fill(1));
await write(host, 0, plain.applied);
await host.flush();
group.hurryApply();
await machine.until(() => group.watermarks.applied === group.watermarks.newest);
await machine.pass(10_000);

await machine.createGroup(
  { journalCapacityBytes, journalDirectories: ['/x/1', '/x/2'], areaLayout: 'spare' },
  'moved',
);
await machine.createVolume('m', sizeBytes, false, 'moved');
machine.kill();
await machine.start();

host = new TestHost(machine, 'plain/a');
silent = new TestHost(machine, 'plain/b');
await write(host, plain.applied, plain.flushed);
await silent.clear('hole', 4096, 100_000);
await host.flush();
await machine.pass(1000);
const other = new TestHost(machine, 'moved/m');
await write(other, 0, moved.flushed);
await other.flush();
await write(other, moved.flushed, moved.moved);
machine.machine.faults.add({ kind: 'sync_error', operation: 'sync', path: '/x/1', times: 1 });
await other.flush();
await write(other, moved.moved, moved.written);
await write(host, plain.flushed, plain.written);
const { current } = machine.group('plain').chain;
const torn = { path: current.file.path, end: current.endOffset };
machine.kill();

const disk = machine.disk;
const file = disk.openSync(torn.path, 'read-write', 'segment');
file.writeSync(new Uint8Array(256), 0, 256, torn.end - 256);
file.closeSync();
const compressed = dump(disk, ['/data', '/x']);
const path = new URL('../test/fixtures/journal-format-1.gz', import.meta.url);
writeFileSync(path, compressed);
console.log(`${path.pathname}: ${compressed.length} bytes`);
