import type { FleetSystem } from '../../replicator/fleet.ts';
import { TestHost } from '../../journal/test-host.ts';
import { begin, expectSame } from './identity-verify.ts';
import { groupName, type IdentityCampaign, volumes } from './identity-campaign.ts';

/** Everywhere is the same: volumes, snapshots, and areas at the same addresses; and nobody finds a difference. */
export async function compareAll(campaign: IdentityCampaign): Promise<void> {
  const { systems, primary, fleet, counter } = campaign;
  for (const system of systems) {
    system.machine.faults.clear();
    for (const other of systems)
      if (system.host < other.host) fleet.links.mend(system.host, other.host);
  }
  await campaign.write(10);
  await campaign.caughtUp();
  for (const { disk } of campaign.clones) {
    await disk.check();
    disk.checkExtents();
  }
  for (const system of systems) {
    for (const volume of volumes) {
      const { newest } = primary.group().watermarks;
      await compare(campaign, system, volume.name, campaign.contents(volume, newest));
      for (const { name, number } of campaign.snapshotsOf(system))
        await compare(
          campaign,
          system,
          `${volume.name}@${name}`,
          campaign.contents(volume, number),
        );
    }
    for (const { name, areas } of primary.group().snapshots.list) {
      for (const { area } of areas) {
        if (fileOf(system, area).equals(fileOf(primary, area))) counter.count('area compared');
        else campaign.fail(`area ${area} of ${name} is another one at ${system.host}`);
      }
    }
    expectSame(campaign, system, await system.run(begin(system, { snapshots: true }), 300_000));
  }
}

async function compare(
  campaign: IdentityCampaign,
  system: FleetSystem,
  name: string,
  expected: Buffer,
): Promise<void> {
  const host = new TestHost(system, `${groupName}/${name}`);
  await system.until(() => host.session.admitsRead(0, expected.length));
  const found = await host.read(0, expected.length);
  host.close();
  if (typeof found !== 'number' && found.equals(expected)) return;
  campaign.fail(`${system.host}: ${name} is not what was written (${typeof found})`);
}

function fileOf(system: FleetSystem, area: number): Buffer {
  const path = system.system.filesOf(system.group()).volume(area);
  const file = system.disk.openSync(path, 'read', 'volume');
  const bytes = Buffer.alloc(file.sizeSync());
  file.readSync(bytes, 0, bytes.length, 0);
  file.closeSync();
  return bytes;
}
