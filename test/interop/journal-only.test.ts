import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { run } from '../support/children.ts';
import { Daemon } from '../support/daemon.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { program } from '../support/tools.ts';

const script = fileURLToPath(new URL('libnbd.py', import.meta.url));
const python = program('python3');
const hasLibnbd = python !== undefined && existsSync('/usr/lib/python3/dist-packages/nbd.py');

describe.skipIf(!hasLibnbd)('libnbd on a journal-only volume', () => {
  it('may write and not read, before and after the daemon is killed', async () => {
    const directory = temporaryDirectory('journal-only');
    const daemon = await Daemon.start({ dataDirectory: join(directory.path, 'data') });
    try {
      await daemon.client('group', 'create', 'g');
      await daemon.client('volume', 'create', 'g/volume', '--size', '64MiB', '--journal-only');
      for (const _ of [1, 2]) {
        const args = [script, 'journal_only', daemon.uri('g/volume')];
        const result = await run(python ?? '', args, { timeoutSeconds: 60 });
        expect(result).toMatchObject({ code: 0 });
        await daemon.kill();
        await daemon.start();
      }
    } finally {
      await daemon.kill();
      directory.remove();
    }
  });
});
