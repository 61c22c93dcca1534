import { checkpointCodec } from '../../journal/checkpoint.ts';
import { headCodec } from '../../journal/head.ts';
import { decodeSlot, slotBytes, type SlotCodec } from '../../journal/two-slot-file.ts';
import type { Disk } from '../../platform/disk.ts';
import { JnbdError, messageOf, systemErrorCode } from '../../platform/errors.ts';
import { blockBytes } from '../../platform/limits.ts';
import { mapRangeOf } from '../../volume/area-layout.ts';
import { basePath } from '../../volume/base-work.ts';
import { readDirtyMap } from '../../volume/dirty-map.ts';
import { RegionSet } from '../../volume/region-set.ts';
import type { RegionAnswer } from '../../volume/region-work.ts';
import { findPinned, segmentsBehind } from '../apply/segments-behind.ts';
import type { GroupFiles } from '../catalog/group-files.ts';
import { readSealedJson } from '../catalog/sealed-json.ts';
import type { Group } from '../order/group.ts';
import type { ReadTurn } from '../snapshots/snapshot-contents.ts';

/** Something that is not what was written. */
export interface Damage {
  readonly file: string;
  /** Where in it. */
  readonly place: string;
  readonly text: string;
}

/** A slot may be in the midst of being written when it is read. */
const slotAttempts = 5;
const slotAttemptMilliseconds = 100;

/**
 * Reads what a group keeps beside its volumes, and tells what is damaged: everything that is sealed, maps of areas,
 * and every record that the journal retains, as the device has them. Rejects with JnbdError state_refuses where the
 * group is closed meanwhile.
 */
export async function findDamages(
  disk: Disk,
  files: GroupFiles,
  group: Group,
  cutsDirectory: string,
  turn: ReadTurn,
): Promise<Damage[]> {
  return [
    ...sealedDamages(disk, files, cutsDirectory),
    ...(await slotDamages(disk, files.checkpoint, checkpointCodec, group)),
    ...(await slotDamages(disk, files.head, headCodec, group)),
    ...areaMapDamages(group),
    ...(await journalDamages(group, turn)),
  ];
}

/** They are only ever replaced whole. */
function sealedDamages(disk: Disk, files: GroupFiles, cutsDirectory: string): Damage[] {
  const cuts = disk.isDirectorySync(cutsDirectory) ? disk.listSync(cutsDirectory) : [];
  const bases = disk.isDirectorySync(files.history) ? disk.listSync(files.history) : [];
  const clones = disk.isDirectorySync(files.clones) ? disk.listSync(files.clones) : [];
  const written = disk.isDirectorySync(files.writableViews)
    ? disk.listSync(files.writableViews)
    : [];
  const sealed = [
    files.catalog,
    files.follow,
    files.followers,
    files.members,
    files.deleted,
    files.verified,
    files.proven,
    files.views,
    ...bases.map((name) => basePath(`${files.history}/${name}`)),
    ...clones.map((name) => `${files.clones}/${name}/clone`),
    ...written.map((name) => `${files.writableViews}/${name}/view`),
    ...cuts.filter((name) => name.endsWith('.cut')).map((name) => `${cutsDirectory}/${name}`),
  ];
  const maps = disk.listSync(files.directory).filter((name) => /^dirty-\d+$/.test(name));
  return [
    ...sealed.flatMap((path) => damageOf(path, () => readSealedJson(disk, path))),
    ...maps.flatMap((name) => {
      const path = `${files.directory}/${name}`;
      return damageOf(path, () => readDirtyMap(disk, path));
    }),
    ...damageOf(files.resyncRegions, () => {
      const bytes = disk.readFileSync(files.resyncRegions, 'catalog');
      if (bytes) RegionSet.decode(bytes, files.resyncRegions);
    }),
  ];
}

function damageOf(file: string, read: () => unknown): Damage[] {
  try {
    read();
    return [];
  } catch (error) {
    if (!(error instanceof JnbdError) && systemErrorCode(error) === undefined) throw error;
    // Its checksum was proved before.
    if (error instanceof JnbdError && error.code === 'format_newer') return [];
    return [{ file, place: 'the whole file', text: messageOf(error) }];
  }
}

async function slotDamages<T extends { readonly groupId: string }>(
  disk: Disk,
  path: string,
  codec: SlotCodec<T>,
  { clock, catalog }: Group,
): Promise<Damage[]> {
  let bad: number[] = [];
  for (let attempt = 0; attempt < slotAttempts; attempt += 1) {
    const read = readSlots(disk, path);
    if (!Buffer.isBuffer(read)) return [{ file: path, place: 'the whole file', text: read }];
    bad = [0, slotBytes].filter((at) => {
      const slot = decodeSlot(read.subarray(at, at + slotBytes), codec);
      if (slot.kind === 'value') return slot.value.groupId !== catalog.groupId;
      return slot.kind === 'bad';
    });
    if (bad.length === 0) return [];
    await new Promise<void>((resolve) => clock.after(slotAttemptMilliseconds, resolve));
  }
  return bad.map((at) => ({
    file: path,
    place: `the slot at ${at}`,
    text: `a slot of the ${codec.name} does not have the checksum that it says`,
  }));
}

function readSlots(disk: Disk, path: string): Buffer | string {
  try {
    const file = disk.openSync(path, 'read', 'checkpoint');
    try {
      const bytes = disk.allocateAligned(slotBytes * 2);
      const count = file.readDirectSync(bytes, 0, bytes.length, 0);
      if (count < bytes.length) return `it has ${count} bytes, not ${bytes.length}`;
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    } finally {
      file.closeSync();
    }
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    return messageOf(error);
  }
}

/** Where a map is in memory, what its file says is read by nobody before the next start. */
function areaMapDamages({ volumes, snapshots }: Group): Damage[] {
  return [...volumes.values()].flatMap(({ catalog, backingFile, file }): Damage[] => {
    const { id, preserves } = catalog;
    if (!preserves || !file) return [];
    try {
      const found = snapshots.mapDifference(id);
      if (!found) return [];
      const { from, to } = found;
      const map = mapRangeOf(preserves.dataBytes, from * blockBytes, blockBytes);
      const text = `which of blocks ${from} to ${to - 1} of volume ${preserves.volume} are there is otherwise than it was written`;
      return [{ file: backingFile, place: `the page of its map at ${map?.offset ?? 0}`, text }];
    } catch (error) {
      if (!(error instanceof JnbdError) && systemErrorCode(error) === undefined) throw error;
      return [{ file: backingFile, place: 'its map', text: messageOf(error) }];
    }
  });
}

/** Of each segment the first record that does not prove. Each is read by the worker, which applies nothing meanwhile. */
async function journalDamages(group: Group, turn: ReadTurn): Promise<Damage[]> {
  const { chain, watermarks } = group;
  const { durable } = watermarks;
  const damages: Damage[] = [];
  let bytes = 0;
  for (let done = watermarks.released; done < durable; ) {
    await turn(bytes);
    if (group.applyState === 'closed') {
      throw new JnbdError('state_refuses', `group ${group.name} is being closed`);
    }
    // What was released meanwhile may be used again.
    done = Math.max(done, watermarks.released);
    const [segment] = segmentsBehind(chain, done, durable);
    if (!segment) break;
    bytes = segment.live.endOffset;
    const through = Math.min(durable, segment.lastNumber);
    const from = Math.max(done, segment.live.beginsAt - 1);
    const scanned = [{ ...segment.scanned, direct: true }];
    const answer = await new Promise<RegionAnswer | undefined>((resolve) => {
      const work = { kind: 'scan', segments: scanned, from, through } as const;
      findPinned(group.driver, [segment], work, resolve);
    });
    if (answer?.kind === 'region_failure') {
      const { path } = segment.scanned;
      const { message } = answer.failure;
      const place = /proves ends at (\d+) of/.exec(message)?.[1];
      damages.push({ file: path, place: place ? `offset ${place}` : 'its records', text: message });
    }
    done = through;
  }
  return damages;
}
