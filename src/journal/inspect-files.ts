import { crc32 } from '../platform/checksum.ts';
import type { Disk } from '../platform/disk.ts';
import { JnbdError, messageOf } from '../platform/errors.ts';
import { missingText, readIdentity } from './area.ts';
import type { AreaReport, Problem, SlotsReport, VolumeReport } from './inspect-report.ts';
import { decodeSlot, type SlotCodec, slotBytes } from './two-slot-file.ts';

/** Of a catalog, what reading a journal offline needs. */
export interface CatalogContents {
  readonly groupId: string;
  readonly name: string;
  readonly number: number;
  readonly volumes: readonly {
    readonly id: number;
    readonly name: string;
    readonly sizeBytes: number;
    readonly journalOnly: boolean;
  }[];
  readonly areas: readonly { readonly areaId: string; readonly path: string }[];
  readonly areaLayout: string;
  readonly journalCapacityBytes: number;
}

/** A catalog as it can be read; undefined where nothing can be made of it. */
export function readCatalogFile(
  disk: Disk,
  path: string,
  problems: Problem[],
): CatalogContents | undefined {
  const contents = disk.readFileSync(path, 'catalog');
  if (contents === undefined) return undefined;
  const [text = '', checksum] = Buffer.from(contents).toString('utf8').split('\n');
  const isWhole = crc32(Buffer.from(text)).toString(16).padStart(8, '0') === checksum;
  if (!isWhole) {
    problems.push({
      severity: 'damage',
      code: 'catalog_damaged',
      message: `${path} is damaged: its checksum does not match`,
      path,
    });
  }
  let catalog: Partial<CatalogContents> & { formatVersion?: unknown };
  try {
    catalog = JSON.parse(text) as typeof catalog;
  } catch {
    return undefined;
  }
  // 2 where there are snapshots.
  if (isWhole && catalog.formatVersion !== 1 && catalog.formatVersion !== 2) {
    throw new JnbdError(
      'format_newer',
      `${path} has format ${String(catalog.formatVersion)}; this jnbd reads formats 1 and 2`,
    );
  }
  const isUsable =
    typeof catalog.groupId === 'string' &&
    Array.isArray(catalog.areas) &&
    Array.isArray(catalog.volumes);
  return isUsable ? (catalog as CatalogContents) : undefined;
}

export function readSlots<T extends { readonly groupId: string }>(
  disk: Disk,
  path: string,
  codec: SlotCodec<T>,
  groupId: string | undefined,
  problems: Problem[],
): SlotsReport<T> {
  const code = codec.name === 'head' ? 'head_damaged' : 'checkpoint_damaged';
  const contents = disk.readFileSync(path, 'checkpoint') ?? new Uint8Array(0);
  const slots: { state: string; counter: number | null }[] = [];
  let newest: { counter: number; value: T } | undefined;
  for (const at of [0, slotBytes]) {
    const slot = decodeSlot(contents.subarray(at, at + slotBytes), codec);
    slots.push({ state: slot.kind, counter: slot.kind === 'value' ? slot.counter : null });
    if (slot.kind === 'newer') {
      throw new JnbdError(
        'format_newer',
        `${path} has format ${slot.formatVersion}, which this jnbd does not know`,
      );
    }
    if (slot.kind === 'bad') {
      problems.push({
        severity: 'damage',
        code,
        message: `the ${codec.name} at offset ${at} of ${path} is damaged`,
        path,
        offset: at,
      });
    }
    if (slot.kind !== 'value' || (groupId !== undefined && slot.value.groupId !== groupId))
      continue;
    if (!newest || slot.counter > newest.counter) newest = slot;
  }
  if (!newest) {
    problems.push({
      severity: 'damage',
      code,
      message: `${path} has no ${codec.name} that can be read`,
      path,
    });
  }
  return { path, slots, value: newest?.value ?? null };
}

/** `expected`: whose it has to be, where that is known. */
export function readArea(
  disk: Disk,
  path: string,
  expected: { readonly groupId: string; readonly areaId: string } | undefined,
  problems: Problem[],
): Omit<AreaReport, 'slots' | 'segmentsByState'> {
  if (!disk.isDirectorySync(path)) {
    problems.push({
      severity: 'warning',
      code: 'area_missing',
      message: `journal directory ${path} is not there`,
      path,
    });
    return { path, state: 'missing', identity: null };
  }
  try {
    const identity = readIdentity(disk, path) ?? null;
    if (!identity && expected) {
      const { text, hasSegments } = missingText(disk, path, expected);
      const severity = hasSegments ? 'damage' : 'warning';
      problems.push({ severity, code: 'area_missing', message: text, path: `${path}/area` });
      return { path, state: 'missing', identity };
    }
    const isForeign =
      expected !== undefined &&
      (identity?.groupId !== expected.groupId || identity.areaId !== expected.areaId);
    if (!isForeign) return { path, state: 'ok', identity };
    problems.push({
      severity: 'damage',
      code: 'area_foreign',
      message: `journal directory ${path} is area ${identity?.areaId} of group ${identity?.groupId}, not area ${expected.areaId} of group ${expected.groupId}`,
      path,
    });
    return { path, state: 'foreign', identity };
  } catch (error) {
    if (error instanceof JnbdError && error.code === 'format_newer') throw error;
    problems.push({
      severity: 'damage',
      code: error instanceof JnbdError ? 'area_foreign' : 'read_failed',
      message: messageOf(error),
      path,
    });
    return { path, state: 'unreadable', identity: null };
  }
}

export function readVolumes(
  disk: Disk,
  directory: string,
  { volumes }: CatalogContents,
  problems: Problem[],
): VolumeReport[] {
  return volumes.map(({ id, name, sizeBytes, journalOnly }): VolumeReport => {
    const base = { id, name, sizeBytes, journalOnly };
    if (journalOnly) return { ...base, path: null, state: 'journal-only', allocatedBytes: 0 };
    const path = `${directory}/volumes/${String(id).padStart(4, '0')}.volume`;
    if (!disk.existsSync(path)) {
      problems.push({
        severity: 'damage',
        code: 'volume_missing',
        message: `${path}, the backing file of volume ${name}, is missing`,
        path,
      });
      return { ...base, path, state: 'missing', allocatedBytes: 0 };
    }
    const file = disk.openSync(path, 'read', 'volume');
    try {
      const allocatedBytes = file.allocatedBytesSync();
      if (file.sizeSync() >= sizeBytes) return { ...base, path, state: 'ok', allocatedBytes };
      problems.push({
        severity: 'warning',
        code: 'volume_short',
        message: `${path}, the backing file of volume ${name}, has ${file.sizeSync()} bytes of ${sizeBytes}; a start makes it longer`,
        path,
      });
      return { ...base, path, state: 'short', allocatedBytes };
    } finally {
      file.closeSync();
    }
  });
}
