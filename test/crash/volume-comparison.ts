import type { NbdClient } from '../../src/nbd/client.ts';
import { MiB } from '../../src/platform/limits.ts';
import type { Finding } from './findings.ts';
import type { GroupLedger } from './group-ledger.ts';
import { sectorBytes } from './update-contents.ts';
import type { VolumeModel } from './volume-model.ts';

const readBytes = 1 * MiB;

/** Size and every byte of a volume, as it is served, against its model. */
export async function compareVolume(
  client: NbdClient,
  group: GroupLedger,
  volume: VolumeModel,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  if (client.sizeBytes !== volume.sizeBytes) {
    findings.push({
      what: 'the size of a volume is not right',
      subject: `${group.name}/${volume.name}`,
      expected: `${volume.sizeBytes} bytes`,
      found: String(client.sizeBytes),
    });
  }
  const size = Math.min(client.sizeBytes, volume.sizeBytes);
  for (let at = 0; at < size; at += readBytes) {
    const bytes = await client.read(at, Math.min(readBytes, size - at));
    if (volume.contents.compare(bytes, 0, bytes.length, at, at + bytes.length) === 0) continue;
    findings.push(...differences(group, volume, at, bytes));
  }
  return findings;
}

/** Neighbouring sectors that differ in the same way are one. */
function differences(
  group: GroupLedger,
  volume: VolumeModel,
  offset: number,
  bytes: Buffer,
): Finding[] {
  const findings: (Finding & { length: number })[] = [];
  for (let at = 0; at < bytes.length; at += sectorBytes) {
    const from = offset + at;
    const until = from + sectorBytes;
    if (volume.contents.compare(bytes, at, at + sectorBytes, from, until) === 0) continue;
    const sector = from / sectorBytes;
    const expected = group.describe(volume.updateAt(sector));
    const found = group.identify(bytes, at, volume, sector);
    const last = findings.at(-1);
    const isSame = last?.expected === expected && last.found === found;
    if (isSame && (last.offset ?? 0) + last.length === from) last.length += sectorBytes;
    else {
      findings.push({
        what: 'a volume does not hold what was written',
        subject: `${group.name}/${volume.name}`,
        offset: from,
        length: sectorBytes,
        expected,
        found,
      });
    }
  }
  return findings;
}
