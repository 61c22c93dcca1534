import { assert } from './assert.ts';

/** Every bound in one place, with the relations between them asserted at start. */
export const KiB = 1024;
export const MiB = 1024 * KiB;
export const GiB = 1024 * MiB;
export const TiB = 1024 * GiB;

/** Block of the index, of apply and of sparse files. */
export const blockBytes = 4096;

/** NBD: advertised maximum payload, and the largest accepted (some clients ignore the advertisement). */
export const payloadAdvertisedBytesMax = 32 * MiB;
export const payloadAcceptedBytesMax = 64 * MiB;
/** NBD: strings on the wire. */
export const nameBytesMax = 4096;
/** Names that a user gives to systems, groups and volumes. */
export const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** `sun_path` holds 108 bytes, the last one is 0 (unix(7)). */
export const socketPathBytesMax = 107;

/** Offsets and numbers stand in 48 bits of a record. */
export const updateNumberMax = 2 ** 48 - 1;
/** Block numbers stand in 33 bits of a sort key of apply. */
export const volumeSizeBytesMax = 32 * TiB;
export const volumesPerGroupMax = 4096;
export const snapshotsPerGroupMax = 256;

/** Receive slabs: a record's bytes lie in one slab from the socket to the journal. */
export const slabBytes = 256 * KiB;
/** Room before the first received byte of a slab for a record header and a mark before it. */
export const slabHeadroomBytes = 64;
/** A payload cut at the end of a slab goes on as a record of its own in the next one. */
export const recordPayloadBytesMax = 1 * MiB;

export const segmentBytes = 16 * MiB;
export const segmentHeaderBytes = 4096;
/** Appended but not durable: past it sockets are not read (SAFETY 4, DESIGN 4). */
export const unsyncedBytesMaxDefault = 32 * MiB;
export const syncIntervalMillisecondsDefault = 20;
/** A lone FUA syncs in the thread while recent syncs took less than this: with the pool, a sync costs some 60 microseconds more. */
export const inlineSyncMillisecondsMax = 0.3;

export const memoryBytesDefault = 192 * MiB;
export const memoryBytesMin = 64 * MiB;
export const journalCapacityBytesDefault = 8 * GiB;
export const journalCapacityBytesMin = 4 * segmentBytes;

/** From the first update behind a point of the checksums to the next point. */
export const checksumPointMillisecondsDefault = 5000;

/** So many updates may be at a follower at most that their source does not have durably yet. */
export const aheadUpdatesMax = 1024;

/** What one journal read may bring; a follower may always be given one record, however large. */
export const paceBatchBytesMin = 256 * KiB;
export const paceBatchBytesMax = 16 * MiB;

assert(slabBytes > 2 * blockBytes + slabHeadroomBytes, 'a slab holds a block and its header');
assert(recordPayloadBytesMax + 64 <= segmentBytes - segmentHeaderBytes, 'a record fits a segment');
assert(slabBytes <= recordPayloadBytesMax, 'what a slab holds fits one record');
