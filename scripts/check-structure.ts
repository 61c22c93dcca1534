/**
 * The rules about files and imports that no compiler or linter holds. `npm run check` runs this file;
 * the functions are pure, so that the tests can show each rule failing.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface SourceFile {
  /** Relative to the repository, with forward slashes. */
  readonly path: string;
  readonly text: string;
}

export interface Violation {
  readonly path: string;
  /** From 1. */
  readonly line: number;
  readonly rule: 'layer' | 'cycle' | 'specifier' | 'package' | 'name' | 'length' | 'unfinished';
  readonly message: string;
}

const belowDoors = ['group', 'history', 'volume', 'journal', 'platform'];

/**
 * The one-way rule: what each part of src may import beside itself. An entry with a slash allows only
 * the files of that part whose path begins so (`control/client.ts`, `control/client-socket.ts`).
 */
export const allowedImports: Readonly<Record<string, readonly string[]>> = {
  main: ['daemon', 'cli', 'platform/collection'],
  daemon: ['nbd', 'replicator', 'control', ...belowDoors],
  // The exit code of an error, how a size reads and the version of the program are the same for everybody;
  // an authority for certificates needs no daemon.
  cli: [
    'control/client',
    'control/schema',
    'journal',
    'platform/certificate-authority',
    'platform/errors',
    'platform/size-text',
    'platform/version',
  ],
  nbd: belowDoors,
  replicator: belowDoors,
  control: belowDoors,
  group: belowDoors.slice(1),
  history: belowDoors.slice(2),
  volume: belowDoors.slice(3),
  journal: belowDoors.slice(4),
  platform: [],
};

const belowVolumes = 'order cuts followers snapshots views overlays apply catalog'.split(' ');
const betweenSystems = ['peers', 'transport', 'protocol'];

/** The parts that are divided: their folders, and what files of each may import of the same part beside it. */
export const allowedInside: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> =
  {
    group: {
      roles: ['system', 'volumes', ...belowVolumes],
      system: ['volumes', ...belowVolumes],
      volumes: belowVolumes,
      order: belowVolumes.slice(1),
      cuts: belowVolumes.slice(2),
      followers: belowVolumes.slice(3),
      snapshots: belowVolumes.slice(4),
      views: belowVolumes.slice(5),
      overlays: belowVolumes.slice(6),
      apply: belowVolumes.slice(7),
      catalog: [],
    },
    // The source's thread knows nothing of following, and a follower nothing of being followed.
    replicator: {
      roles: ['follower', ...betweenSystems],
      verify: betweenSystems,
      cuts: betweenSystems,
      follower: betweenSystems,
      source: betweenSystems,
      peers: betweenSystems.slice(1),
      transport: betweenSystems.slice(2),
      protocol: [],
    },
  };

/** Packages that one part alone may import. */
const ownedPackages: Readonly<Record<string, string>> = {
  '@peculiar/x509': 'platform',
  koffi: 'platform',
};

export const maximumLines = 400;

/** Files over the limit, each with the reason why it is not two files. */
export const longFiles: Readonly<Record<string, string>> = {};

const forbiddenWords = new Set(['util', 'utils', 'helper', 'helpers', 'manager', 'common', 'misc']);
const testPattern = /^test\/.*\.test\.ts$/;
const unfinishedPattern = /\b(?:TO[D]O|FIX[M]E)\b/;

interface Import {
  readonly specifier: string;
  readonly line: number;
  /** `url` is `new URL('./x', import.meta.url)`, the way a worker names its file. */
  readonly kind: 'static' | 'dynamic' | 'url';
}

/**
 * Blanks comments and what stands in template literals (code as text is not an import), keeping every
 * offset and line.
 */
function codeOnly(text: string): string {
  return text.replace(
    /('(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*")|`((?:\\.|[^`\\])*)`|\/\/[^\n]*|\/\*[\s\S]*?\*\//g,
    (match, literal: string | undefined, template: string | undefined) => {
      if (literal !== undefined) return literal;
      const blank = (template ?? match).replace(/[^\n]/g, ' ');
      return template === undefined ? blank : `\`${blank}\``;
    },
  );
}

function lineAt(text: string, offset: number): number {
  let line = 1;
  for (let at = text.indexOf('\n'); at !== -1 && at < offset; at = text.indexOf('\n', at + 1))
    line++;
  return line;
}

/** Every import of a file, and the lines with an import that cannot be read. */
export function readImports(text: string): { imports: Import[]; unreadable: number[] } {
  const code = codeOnly(text);
  const imports: Import[] = [];
  const collect = (pattern: RegExp, kind: Import['kind']): void => {
    for (const match of code.matchAll(pattern)) {
      imports.push({ specifier: match[2] ?? '', line: lineAt(code, match.index), kind });
    }
  };
  collect(/^(?:import|export)\b(?:[^'";]*?\bfrom)?\s*(['"])([^'"\n]+)\1/gm, 'static');
  collect(/\b(?:import|require)\s*\(\s*(['"])([^'"\n]+)\1/g, 'dynamic');
  collect(/\bnew\s+URL\(\s*(['"])(\.[^'"\n]+)\1\s*,\s*import\.meta\.url/g, 'url');

  // A statement that the patterns above do not understand must be noticed, never passed over.
  const read = new Set(imports.map((found) => found.line));
  const unreadable: number[] = [];
  code.split('\n').forEach((line, index) => {
    if (/^import\b(?!\.)/.test(line) && !read.has(index + 1)) unreadable.push(index + 1);
  });
  const computed = /\bimport\s*\(\s*(?!\s|['"])|\bnew\s+URL\(\s*`[^`]*`\s*,\s*import\.meta\.url/g;
  for (const match of code.matchAll(computed)) {
    unreadable.push(lineAt(code, match.index));
  }
  return { imports, unreadable };
}

/** `src/nbd/server.ts` is in `nbd`, `src/daemon.ts` in `daemon`. */
function partOf(path: string): string {
  return (path.split('/')[1] ?? '').replace(/\.ts$/, '');
}

/** `src/group/order/host-session.ts` is in `order`; a file of no folder is in one with its own name. */
function folderInside(path: string): string {
  return path.split('/')[2] ?? '';
}

function mayImport(from: string, target: string): boolean {
  const own = partOf(from);
  const other = partOf(target);
  if (own === other) return mayImportInside(own, folderInside(from), folderInside(target));
  const inside = target.slice('src/'.length);
  return (allowedImports[own] ?? []).some((entry) =>
    entry.includes('/')
      ? inside.startsWith(entry) && /^[./-]/.test(inside.slice(entry.length))
      : entry === other,
  );
}

function mayImportInside(part: string, own: string, other: string): boolean {
  const folders = allowedInside[part];
  return folders === undefined || own === other || (folders[own] ?? []).includes(other);
}

/** What files of the same folder as this one may import, for people. */
function allowedFor(path: string, target: string): readonly string[] | undefined {
  const own = partOf(path);
  if (own !== partOf(target)) return allowedImports[own];
  return allowedInside[own]?.[folderInside(path)]?.map((folder) => `${own}/${folder}`);
}

/** A file of a divided part is in one of its folders; so is a test of it. */
function checkPlace({ path }: SourceFile): Violation[] {
  const folders = allowedInside[partOf(path)];
  if (folders === undefined || Object.hasOwn(folders, folderInside(path))) return [];
  const message = `${path.split('/', 2).join('/')} is divided: put it into ${Object.keys(folders).join(', ')}, or add a folder to scripts/check-structure.ts`;
  return [{ path, line: 1, rule: 'layer', message }];
}

function checkImport(
  file: SourceFile,
  found: Import,
  dependencies: readonly string[],
): Violation[] {
  const { specifier, line, kind } = found;
  const broken = (rule: Violation['rule'], message: string): Violation[] => [
    { path: file.path, line, rule, message },
  ];
  if (!specifier.startsWith('.')) {
    const name = specifier
      .split('/')
      .slice(0, specifier.startsWith('@') ? 2 : 1)
      .join('/');
    if (specifier.startsWith('node:')) return [];
    if (builtinModules.includes(name)) return broken('specifier', `write node:${specifier}`);
    if (!dependencies.includes(name)) {
      return broken('package', `${name} is not among the dependencies of package.json`);
    }
    const owner = ownedPackages[name];
    if (owner !== undefined && owner !== partOf(file.path)) {
      return broken('package', `${name} may be imported by src/${owner} only`);
    }
    return [];
  }
  const target = posix.join(posix.dirname(file.path), specifier);
  if (!target.startsWith('src/')) return broken('layer', `${specifier} leads out of src`);
  if (kind !== 'url' && !specifier.endsWith('.ts') && !specifier.endsWith('.json')) {
    return broken('specifier', `${specifier} does not end in .ts`);
  }
  if (!mayImport(file.path, target)) {
    const allowed = allowedFor(file.path, target);
    return broken(
      'layer',
      allowed === undefined
        ? `${partOf(file.path)} is not in the layer table of scripts/check-structure.ts`
        : `${partOf(file.path)} may not import ${target}; it may import: ${allowed.join(', ') || 'nothing'}`,
    );
  }
  return [];
}

/** A top-level file is a folder of its own: `src/daemon.ts` is not in one folder with `src/main.ts`. */
function folderOf(path: string): string {
  const folder = posix.dirname(path);
  return folder === 'src' ? path : folder;
}

interface Edge {
  readonly to: string;
  readonly path: string;
  readonly line: number;
}

/** One violation for each import that closes a cycle between folders, or between files. */
function checkCycles(edges: ReadonlyMap<string, readonly Edge[]>): Violation[] {
  const violations: Violation[] = [];
  const done = new Set<string>();
  const trail: string[] = [];
  const visit = (place: string): void => {
    trail.push(place);
    for (const edge of edges.get(place) ?? []) {
      const start = trail.indexOf(edge.to);
      if (start !== -1) {
        const cycle = [...trail.slice(start), edge.to].join(' -> ');
        violations.push({ path: edge.path, line: edge.line, rule: 'cycle', message: cycle });
      } else if (!done.has(edge.to)) {
        visit(edge.to);
      }
    }
    trail.pop();
    done.add(place);
  };
  for (const place of edges.keys()) if (!done.has(place)) visit(place);
  return violations;
}

function checkSource(files: readonly SourceFile[], dependencies: readonly string[]): Violation[] {
  const violations: Violation[] = [];
  const fileEdges = new Map<string, Edge[]>();
  const folderEdges = new Map<string, Edge[]>();
  for (const file of files) {
    const { imports, unreadable } = readImports(file.text);
    for (const line of unreadable) {
      const message =
        'this import cannot be read: import a literal name, on a line that begins with it';
      violations.push({ path: file.path, line, rule: 'specifier', message });
    }
    for (const found of imports) {
      violations.push(...checkImport(file, found, dependencies));
      if (!found.specifier.startsWith('.')) continue;
      const target = posix.join(posix.dirname(file.path), found.specifier);
      const at = { path: file.path, line: found.line };
      const known = fileEdges.get(file.path) ?? [];
      fileEdges.set(file.path, [...known, { to: target, ...at }]);
      const from = folderOf(file.path);
      const to = folderOf(target);
      if (from !== to) folderEdges.set(from, [...(folderEdges.get(from) ?? []), { to, ...at }]);
    }
  }
  return [...violations, ...checkCycles(folderEdges), ...checkCycles(fileEdges)];
}

function checkShape(file: SourceFile, long: Readonly<Record<string, string>>): Violation[] {
  const violations: Violation[] = [];
  const name = posix.basename(file.path).replace(/(\.(test|d))?\.ts$/, '');
  const word = name
    .split(/[-_.]|(?<=[a-z])(?=[A-Z])/)
    .map((part) => part.toLowerCase())
    .find((part) => forbiddenWords.has(part));
  if (word !== undefined || name === 'index') {
    const message = `"${word ?? name}" says nothing about what is inside: name the file for its subject`;
    violations.push({ path: file.path, line: 1, rule: 'name', message });
  }
  const lines = file.text.split('\n');
  const count = lines.length - (file.text.endsWith('\n') ? 1 : 0);
  if (count > maximumLines && long[file.path] === undefined) {
    const message = `${count} lines, over ${maximumLines}: divide it, or list it in longFiles with a reason`;
    violations.push({ path: file.path, line: maximumLines + 1, rule: 'length', message });
  }
  if (count <= maximumLines && long[file.path] !== undefined) {
    const message = `${count} lines: take it out of longFiles`;
    violations.push({ path: file.path, line: 1, rule: 'length', message });
  }
  lines.forEach((line, index) => {
    const found = unfinishedPattern.exec(line)?.[0];
    if (found === undefined) return;
    const message = `${found}: finish it, or say in the documentation what is not there`;
    violations.push({ path: file.path, line: index + 1, rule: 'unfinished', message });
  });
  return violations;
}

/**
 * All rules over a tree. Import rules hold for `src/`, the others for every file given.
 * `dependencies` are the names of the packages that the published program brings along, `long` the
 * files that may be over the limit.
 */
export function checkStructure(
  files: readonly SourceFile[],
  dependencies: readonly string[],
  long: Readonly<Record<string, string>> = {},
): Violation[] {
  const source = files.filter((file) => file.path.startsWith('src/') && file.path.endsWith('.ts'));
  const given = new Set(files.map((file) => file.path));
  const gone = Object.keys(long).filter((path) => !given.has(path));
  return [
    ...checkSource(source, dependencies),
    ...[...source, ...files.filter(({ path }) => testPattern.test(path))].flatMap(checkPlace),
    ...files.flatMap((file) => checkShape(file, long)),
    ...gone.map((path): Violation => {
      return {
        path,
        line: 1,
        rule: 'length',
        message: 'listed in longFiles, but there is no such file',
      };
    }),
  ];
}

/** Every file of src, test (frozen fixtures left out) and scripts of the repository at `root`. */
export function readSources(root: string): SourceFile[] {
  const files: SourceFile[] = [];
  const visit = (folder: string): void => {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      const path = posix.join(folder, entry.name);
      if (entry.isDirectory() && path !== 'test/fixtures') visit(path);
      // Scripts without an extension are bash.
      else if (entry.isFile() && (path.endsWith('.ts') || !entry.name.includes('.'))) {
        files.push({ path, text: readFileSync(join(root, path), 'utf8') });
      }
    }
  };
  const present = new Set(readdirSync(root));
  for (const folder of ['src', 'test', 'scripts']) if (present.has(folder)) visit(folder);
  return files;
}

/** The names of the packages in `dependencies` of the repository's package.json. */
export function readDependencies(root: string): string[] {
  const description = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    dependencies?: Record<string, string>;
  };
  return Object.keys(description.dependencies ?? {});
}

export const repositoryRoot = dirname(dirname(fileURLToPath(import.meta.url)));

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const sources = readSources(repositoryRoot);
  const violations = checkStructure(sources, readDependencies(repositoryRoot), longFiles);
  for (const { path, line, rule, message } of violations) {
    console.error(`${path}:${line}: ${rule}: ${message}`);
  }
  process.exitCode = violations.length === 0 ? 0 : 1;
}
