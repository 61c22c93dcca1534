import { describe, expect, it } from 'vitest';
import {
  allowedImports,
  allowedInside,
  checkStructure,
  longFiles,
  maximumLines,
  readDependencies,
  readImports,
  readSources,
  repositoryRoot,
  type SourceFile,
} from '../../scripts/check-structure.ts';

const dependencies = ['koffi', 'hono', '@node-rs/crc32'];

/** What is wrong with a tree of files given as path -> text, as `path:line rule`. */
function faults(tree: Record<string, string>): string[] {
  const files: SourceFile[] = Object.entries(tree).map(([path, text]) => ({ path, text }));
  return checkStructure(files, dependencies).map(
    ({ path, line, rule }) => `${path}:${line} ${rule}`,
  );
}

describe('this repository', () => {
  const files = readSources(repositoryRoot);

  it('has something to check', () => {
    expect(files.map((file) => file.path)).toContain('scripts/check-structure.ts');
    expect(files.filter((file) => file.path.startsWith('src/')).length).toBeGreaterThan(0);
  });

  it('keeps the rules', () => {
    expect(checkStructure(files, readDependencies(repositoryRoot), longFiles)).toEqual([]);
  });

  it('has a line in the layer table for every part of src', () => {
    const parts = files
      .filter((file) => file.path.startsWith('src/') && file.path.endsWith('.ts'))
      .map((file) => (file.path.split('/')[1] ?? '').replace(/\.ts$/, ''));
    expect([...new Set(parts)].filter((part) => allowedImports[part] === undefined)).toEqual([]);
  });
});

describe('the one-way rule', () => {
  it('lets every part import what is below it', () => {
    expect(
      faults({
        'src/main.ts':
          "import { serve } from './daemon.ts';\nimport { run } from './cli/run.ts';\n",
        'src/daemon.ts': "import { Server } from './nbd/server.ts';\n",
        'src/nbd/server.ts': "import type { Group } from '../group/order/group.ts';\n",
        'src/group/order/group.ts': "import { Journal } from '../../journal/journal.ts';\n",
        'src/journal/journal.ts': "import { openDisk } from '../platform/disk.ts';\n",
        'src/cli/run.ts':
          "import { connect } from '../control/client-socket.ts';\nimport { inspect } from '../journal/journal.ts';\n",
      }),
    ).toEqual([]);
  });

  it.each([
    ['src/platform/disk.ts', '../journal/journal.ts'],
    ['src/journal/journal.ts', '../volume/apply.ts'],
    ['src/volume/apply.ts', '../history/view.ts'],
    ['src/history/view.ts', '../group/group.ts'],
    ['src/group/order/group.ts', '../../nbd/server.ts'],
    ['src/nbd/server.ts', '../replicator/source/source.ts'],
    ['src/replicator/source/source.ts', '../../nbd/server.ts'],
    ['src/control/server.ts', '../cli/run.ts'],
    ['src/nbd/server.ts', '../daemon.ts'],
    ['src/cli/run.ts', '../control/server.ts'],
    ['src/cli/run.ts', '../control/clients.ts'],
    ['src/cli/run.ts', '../group/group.ts'],
    ['src/main.ts', './journal/journal.ts'],
    ['src/unheard/of.ts', '../platform/disk.ts'],
    ['src/journal/journal.ts', '../../test/support/disk.ts'],
  ])('refuses %s importing %s', (path, specifier) => {
    expect(faults({ [path]: `import { thing } from '${specifier}';\n` })).toEqual([
      `${path}:1 layer`,
    ]);
  });

  it.each([
    ['a type', "import type { Group } from '../group/group.ts';"],
    ['several lines', "import {\n  a, // it's a\n  b,\n} from '../group/group.ts';"],
    ['double quotes', 'import { a } from "../group/group.ts";'],
    ['an effect', "import '../group/group.ts';"],
    ['a re-export', "export { a } from '../group/group.ts';"],
    ['everything', "export * from '../group/group.ts';"],
    ['when needed', "const a = await import('../group/group.ts');"],
    ['a type in place', "let a: import('../group/group.ts').Group;"],
    ['a worker', "new Worker(new URL('../group/worker.js', import.meta.url));"],
  ])('sees an import as %s', (_, statement) => {
    const text = `// first line\nimport { b } from './b.ts';\n${statement}\n`;
    expect(faults({ 'src/journal/journal.ts': text })).toEqual(['src/journal/journal.ts:3 layer']);
  });

  it('ignores what stands in comments', () => {
    const text = "/*\nimport { a } from '../group/group.ts';\n*/\n// import('../group/group.ts')\n";
    expect(faults({ 'src/journal/journal.ts': text })).toEqual([]);
  });

  it('ignores code that is text', () => {
    const text = "const code = `import(${name}); import('../group/group.ts')`;\n";
    expect(faults({ 'src/journal/journal.ts': text })).toEqual([]);
  });

  it('refuses what it cannot read rather than passing over it', () => {
    expect(readImports('const a = await import(name);\n').unreadable).toEqual([1]);
    expect(readImports('await import(`./${name}.ts`);\n').unreadable).toEqual([1]);
    expect(readImports('new URL(`./${name}.ts`, import.meta.url);\n').unreadable).toEqual([1]);
    expect(readImports("import a = require('x');\nimport b;\n").unreadable).toEqual([2]);
    expect(faults({ 'src/cli/run.ts': 'await import(name);\n' })).toEqual([
      'src/cli/run.ts:1 specifier',
    ]);
  });
});

describe('the folders of a divided part', () => {
  const groupFile = 'src/group/followers/followers.ts';

  it('import what is below them', () => {
    const text = "import { a } from '../catalog/members.ts';\nimport { b } from './floor.ts';\n";
    expect(faults({ [groupFile]: text })).toEqual([]);
  });

  it.each([
    [groupFile, '../order/group.ts'],
    ['src/group/order/group.ts', '../roles/promotion.ts'],
    ['src/group/catalog/names.ts', '../system.ts'],
    ['src/replicator/source/source-feed.ts', '../follower/follower.ts'],
    ['src/replicator/follower/follower.ts', '../source/source-feed.ts'],
    ['src/replicator/protocol/wire.ts', '../transport/transport.ts'],
  ])('refuse what is above or beside: %s importing %s', (path, specifier) => {
    expect(faults({ [path]: `\nimport type { Thing } from '${specifier}';\n` })).toEqual([
      `${path}:2 layer`,
    ]);
  });

  it('refuse one planted in this repository', () => {
    const files = readSources(repositoryRoot).map((file) =>
      file.path === groupFile
        ? { ...file, text: `import type { Group } from '../order/group.ts';\n${file.text}` }
        : file,
    );
    const found = checkStructure(files, readDependencies(repositoryRoot), longFiles);
    expect(found.filter(({ path, rule }) => path === groupFile && rule === 'layer')).toHaveLength(
      1,
    );
  });

  it('take no file beside them', () => {
    expect(faults({ 'src/group/group.ts': '' })).toEqual(['src/group/group.ts:1 layer']);
    expect(faults({ 'src/replicator/else/a.ts': '' })).toEqual([
      'src/replicator/else/a.ts:1 layer',
    ]);
    expect(faults({ 'test/group/a.test.ts': '' })).toEqual(['test/group/a.test.ts:1 layer']);
    expect(faults({ 'test/group/setting.ts': '' })).toEqual([]);
  });

  it('form an order', () => {
    for (const folders of Object.values(allowedInside)) {
      const above = Object.keys(folders);
      for (const [folder, below] of Object.entries(folders)) {
        expect(below.filter((name) => above.indexOf(name) <= above.indexOf(folder))).toEqual([]);
      }
    }
  });
});

describe('cycles', () => {
  it('finds one between folders of a part, where the layer table has nothing to say', () => {
    expect(
      faults({
        'src/nbd/server.ts': "import { a } from './wire/codec.ts';\n",
        'src/nbd/wire/codec.ts': "import { b } from './deep/constants.ts';\n",
        'src/nbd/wire/deep/constants.ts': "\nimport { c } from '../../limits.ts';\n",
      }),
    ).toEqual(['src/nbd/wire/deep/constants.ts:2 cycle']);
  });

  it('finds one between files of one folder, of types alone too', () => {
    expect(
      faults({
        'src/nbd/a.ts': "import type { B } from './b.ts';\n",
        'src/nbd/b.ts': "\nimport { c } from './c.ts';\n",
        'src/nbd/c.ts': "import type { A } from './a.ts';\n",
      }),
    ).toEqual(['src/nbd/c.ts:1 cycle']);
  });
});

describe('specifiers and packages', () => {
  it.each([
    ["import { a } from './a.js';", 'specifier'],
    ["import { a } from './a';", 'specifier'],
    ["import { open } from 'fs';", 'specifier'],
    ["import { open } from 'fs/promises';", 'specifier'],
    ["import { test } from 'vitest';", 'package'],
    ["import x from '@node-rs/xxhash';", 'package'],
    ["import koffi from 'koffi';", 'package'],
  ])('refuses %s', (statement, rule) => {
    expect(faults({ 'src/journal/a.ts': `${statement}\n` })).toEqual([
      `src/journal/a.ts:1 ${rule}`,
    ]);
  });

  it('takes the runtime and the dependencies', () => {
    const text = [
      "import { open } from 'node:fs/promises';",
      "import { crc32 } from '@node-rs/crc32';",
      "import { serveStatic } from 'hono/static';",
      "import koffi from 'koffi';",
    ].join('\n');
    expect(faults({ 'src/platform/a.ts': text })).toEqual([]);
  });
});

describe('names, length and unfinished work', () => {
  it.each([
    'src/nbd/utils.ts',
    'test/support/test-helpers.ts',
    'src/volume/volumeManager.ts',
    'src/journal/index.ts',
    'src/platform/common.ts',
    'scripts/disk-util.ts',
  ])('refuses the name %s', (path) => {
    expect(faults({ [path]: '' })).toEqual([`${path}:1 name`]);
  });

  it.each(['src/volume/extent-index.ts', 'src/nbd/utilisation.ts', 'src/volume/management.ts'])(
    'takes the name %s',
    (path) => {
      expect(faults({ [path]: '' })).toEqual([]);
    },
  );

  it('refuses a line over the limit', () => {
    expect(faults({ 'src/nbd/server.ts': 'a;\n'.repeat(maximumLines) })).toEqual([]);
    expect(faults({ 'src/nbd/server.ts': 'a;\n'.repeat(maximumLines + 1) })).toEqual([
      `src/nbd/server.ts:${maximumLines + 1} length`,
    ]);
  });

  it('refuses notes about work that is not done', () => {
    expect(faults({ 'src/nbd/server.ts': `a;\n// ${'TO'}${'DO'}: b\n` })).toEqual([
      'src/nbd/server.ts:2 unfinished',
    ]);
    expect(faults({ 'scripts/run': `# ${'FIX'}${'ME'}\n` })).toEqual(['scripts/run:1 unfinished']);
  });
});
