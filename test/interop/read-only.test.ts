import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ReceiveSlabPool } from '../../src/journal/receive-slab.ts';
import { NbdServer } from '../../src/nbd/server.ts';
import { nodeClock } from '../../src/platform/clock.ts';
import { nodeNetwork } from '../../src/platform/node-network.ts';
import { run } from '../support/children.ts';
import { MemoryExport, memoryDirectory } from '../support/memory-export.ts';
import { program } from '../support/tools.ts';

const script = fileURLToPath(new URL('libnbd.py', import.meta.url));
const python = program('python3');
const hasLibnbd = python !== undefined && existsSync('/usr/lib/python3/dist-packages/nbd.py');

/** Nothing that a user can type makes a primary's volume read-only, so the export is one in memory. */
describe.skipIf(!hasLibnbd)('libnbd on a read-only export', () => {
  let server: NbdServer;
  let port = 0;

  beforeAll(async () => {
    const slabs = new ReceiveSlabPool(16).budget();
    const settings = { name: 'fixed', sizeBytes: 1024 * 1024, readOnly: true, rotational: true };
    const volume = new MemoryExport(slabs, settings);
    server = new NbdServer({
      network: nodeNetwork,
      clock: nodeClock,
      exports: memoryDirectory([volume]),
    });
    const [bound] = await server.listen([{ kind: 'tcp', host: '127.0.0.1', port: 0 }]);
    port = bound?.kind === 'tcp' ? bound.port : 0;
  });

  afterAll(() => server.stop(1000));

  it('refuses what would change it with EPERM and says that it is rotational', async () => {
    const uri = `nbd://127.0.0.1:${port}/fixed`;
    const result = await run(python ?? '', [script, 'read_only', uri], { timeoutSeconds: 60 });
    expect(result).toMatchObject({ code: 0 });
  });
});
