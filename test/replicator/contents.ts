import { MiB } from '../../src/platform/limits.ts';
import { TestHost } from '../journal/test-host.ts';
import type { FleetSystem } from './fleet.ts';

/** What a system's volume holds, as a reader there gets it. */
export async function contents(system: FleetSystem, name = 'g/v'): Promise<Buffer> {
  const host = new TestHost(system, name);
  const { sizeBytes } = host.session;
  const parts: Buffer[] = [];
  for (let at = 0; at < sizeBytes; at += MiB) {
    const read = await host.read(at, Math.min(MiB, sizeBytes - at));
    if (typeof read === 'number')
      throw new Error(`${system.host} fails to read ${name} at ${at}: ${read}`);
    parts.push(read);
  }
  host.close();
  return Buffer.concat(parts);
}
