import { crc32 } from '../platform/checksum.ts';
import type { Disk } from '../platform/disk.ts';
import { JnbdError } from '../platform/errors.ts';
import { RegionSet } from './region-set.ts';

/** A number, and the stretch of the group's history that it belongs to. */
export interface MapPosition {
  readonly generation: number;
  readonly incarnation: number;
  readonly number: number;
}

/** What changed since a follower was left behind. */
export interface DirtyMap {
  readonly groupId: string;
  /** Of the follower. */
  readonly systemId: number;
  /** The regions are everything that updates behind this one changed, and maybe more, ... */
  readonly from: number;
  /** ... up to this one; in a journal that is about to begin anew, of its source's history. */
  readonly through: MapPosition;
  /** ... up to this one, of the history that the group had when this was written. */
  readonly own: MapPosition;
  readonly regions: RegionSet;
}

const magic = 'jnbdDRT1';
const formatVersion = 1;
const headerBytes = 96;
const contentBytes = headerBytes - 4;
const throughAt = 48;
const ownAt = 64;

/** As FORMAT.md lays it out. */
export function encodeDirtyMap(map: DirtyMap): Uint8Array {
  const header = Buffer.alloc(headerBytes);
  header.write(magic, 0, 'latin1');
  header.writeUInt16LE(formatVersion, 8);
  header.write(map.groupId, 16, 16, 'hex');
  header.writeUIntLE(map.systemId, 32, 6);
  header.writeUIntLE(map.from, 40, 6);
  writePosition(header, throughAt, map.through);
  writePosition(header, ownAt, map.own);
  header.writeUInt32LE(crc32(header.subarray(0, contentBytes)), contentBytes);
  return Buffer.concat([header, map.regions.encode()]);
}

/** Throws JnbdError: catalog_damaged, format_newer. */
export function decodeDirtyMap(bytes: Uint8Array, path: string): DirtyMap {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isWhole =
    buffer.length >= headerBytes &&
    buffer.toString('latin1', 0, 8) === magic &&
    buffer.readUInt32LE(contentBytes) === crc32(buffer.subarray(0, contentBytes));
  if (!isWhole) throw new JnbdError('catalog_damaged', `${path} is damaged: it is no dirty map`);
  const version = buffer.readUInt16LE(8);
  if (version > formatVersion) {
    throw new JnbdError(
      'format_newer',
      `${path} has format ${version}; this jnbd reads format ${formatVersion}`,
    );
  }
  return {
    groupId: buffer.toString('hex', 16, 32),
    systemId: buffer.readUIntLE(32, 6),
    from: buffer.readUIntLE(40, 6),
    through: readPosition(buffer, throughAt),
    own: readPosition(buffer, ownAt),
    regions: RegionSet.decode(buffer.subarray(headerBytes), path),
  };
}

/** Undefined where there is no such file. Throws JnbdError: catalog_damaged, format_newer. */
export function readDirtyMap(disk: Disk, path: string): DirtyMap | undefined {
  const bytes = disk.readFileSync(path, 'catalog');
  return bytes === undefined ? undefined : decodeDirtyMap(bytes, path);
}

/** Durable when it returns; a crash leaves the map before it. Throws system errors. */
export function writeDirtyMap(disk: Disk, path: string, map: DirtyMap): void {
  disk.replaceFileSync(path, encodeDirtyMap(map), 'catalog');
}

function writePosition(buffer: Buffer, at: number, position: MapPosition): void {
  buffer.writeUIntLE(position.number, at, 6);
  buffer.writeUInt32LE(position.generation, at + 6);
  buffer.writeUIntLE(position.incarnation, at + 10, 6);
}

function readPosition(buffer: Buffer, at: number): MapPosition {
  return {
    generation: buffer.readUInt32LE(at + 6),
    incarnation: buffer.readUIntLE(at + 10, 6),
    number: buffer.readUIntLE(at, 6),
  };
}
