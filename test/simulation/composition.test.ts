import { posix } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readImports, readSources, repositoryRoot } from '../../scripts/check-structure.ts';
import { realWorld } from '../../src/daemon/serve.ts';
import { SimulatedClock } from './simulated-clock.ts';
import { SimulatedDaemon } from './simulated-daemon.ts';
import { SimulatedDisk } from './simulated-disk.ts';
import { SimulatedNetwork } from './simulated-network.ts';
import { SimulatedRandom } from './simulated-random.ts';

/** Disk, clock, networks for hosts and systems, randomness and the ports to the workers. */
const replaced = ['clock', 'disk', 'network', 'random', 'startApply', 'startSource', 'transport'];

const sources = new Map(
  readSources(repositoryRoot)
    .filter(({ path }) => path.endsWith('.ts'))
    .map(({ path, text }) => [path, text]),
);
const textOf = (path: string): string => sources.get(path) ?? '';
const sourcePaths = [...sources.keys()].filter((path) => path.startsWith('src/'));
const simulationPaths = [...sources.keys()].filter(
  (path) => path.startsWith('test/simulation/') && !path.endsWith('.test.ts'),
);

/** The text of a function of a file, from its name to the brace that ends it. */
function functionText(path: string, name: string): string {
  const text = textOf(path);
  const start = text.search(new RegExp(`^export (?:async )?function ${name}\\(`, 'm'));
  const end = text.indexOf('\n}\n', start);
  if (start < 0 || end < 0) throw new Error(`${path} has no function ${name}`);
  return text.slice(start, end);
}

/** Where a pattern stands: once for each time. */
function places(paths: readonly string[], pattern: RegExp): string[] {
  return paths.flatMap((path) =>
    [...textOf(path).matchAll(new RegExp(pattern, `${pattern.flags}g`))].map(() => path),
  );
}

/** What a function puts together: classes that it makes, or opens. */
function partsMade(text: string): string[] {
  const made = [...text.matchAll(/\bnew (\w+)[<(]|\b([A-Z]\w+)\.open\(/g)];
  return [...new Set(made.map((match) => match[1] ?? match[2] ?? ''))].sort();
}

/** Types, the numbers of errors, and what an address looks like. */
const withoutEffect =
  /^(?:import|export) (?:type [^;]*|\{ constants \} from 'node:os'|\{ isIP \} from 'node:net');/gm;

/** Imports that are there at run time. */
function importedBy(path: string): string[] {
  return readImports(textOf(path).replace(withoutEffect, '')).imports.map(({ specifier }) =>
    specifier.startsWith('.') ? posix.join(posix.dirname(path), specifier) : specifier,
  );
}

function reachableFrom(paths: readonly string[]): string[] {
  const reached = new Set<string>();
  const visit = (path: string): void => {
    if (reached.has(path) || !sources.has(path)) return;
    reached.add(path);
    for (const target of importedBy(path)) visit(target);
  };
  for (const path of paths) visit(path);
  return [...reached].sort();
}

/** What a module has of the world without having been given it. */
function ambient(path: string): string[] {
  const modules = importedBy(path).filter(
    (name) => !name.startsWith('src/') && !pureModules.has(name),
  );
  const code = textOf(path)
    .replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'/g, '')
    .replace(/^ +\w+\([^()]*\): \w+ \{$/gm, '');
  const globals = code.matchAll(
    /(?<![.\w])(?:Date\.now|new Date\(\)|performance\.|Math\.random|process\.|crypto\.|set(?:Timeout|Interval|Immediate)\(|queueMicrotask|fetch\()/g,
  );
  return [...new Set([...modules, ...[...globals].map(([found]) => found)])].sort();
}

const pureModules = new Set(['node:path', 'node:util', '@node-rs/crc32', 'zod', 'prom-client']);

/** The file of a class. */
function fileOf(part: string): string {
  const [path] = places(sourcePaths, new RegExp(`^export class ${part}\\b`, 'm'));
  return path ?? `no file has class ${part}`;
}

const parts = partsMade(functionText('src/daemon/compose.ts', 'composeDaemon')).filter(
  (part) => part !== 'JnbdError',
);

describe('the simulation starts the daemon that serve starts', () => {
  test('serve and the simulation call the same function, and nobody else does', () => {
    expect(textOf('src/main.ts')).toContain("await import('./daemon/serve.ts')");
    const calls = (text: string): string[] =>
      [...text.matchAll(/(?<!function )\bcomposeDaemon\(\s*([^,]+),/g)].map(
        ([, world]) => world ?? '',
      );
    const callers = [...sources].flatMap(([path, text]) =>
      path === 'test/simulation/composition.test.ts'
        ? []
        : calls(text).map((world) => `${path}: ${world}`),
    );
    expect(callers.sort()).toEqual([
      'src/daemon/serve.ts: realWorld()',
      'test/simulation/simulated-daemon.ts: this.world',
    ]);
    expect(calls(functionText('src/daemon/serve.ts', 'startDaemon'))).toEqual(['realWorld()']);
  });

  test('they give it disk, clock, network, randomness and worker port, and nothing else', async () => {
    const real = realWorld();
    const clock = new SimulatedClock();
    const random = new SimulatedRandom('composition');
    const machine = new SimulatedDisk({ clock, random });
    const network = new SimulatedNetwork(clock, random);
    const daemon = new SimulatedDaemon({ clock, machine, network }, random);
    expect(Object.keys(real).sort()).toEqual(replaced);
    expect(Object.keys(daemon.world).sort()).toEqual(replaced);
    const same = replaced.filter(
      (key) => Reflect.get(daemon.world, key) === Reflect.get(real, key),
    );
    expect(same).toEqual([]);
    daemon.starting.catch(() => undefined);
    daemon.kill();
  });

  test('the parts are put together in that function alone', () => {
    expect(parts.length).toBeGreaterThan(5);
    for (const part of parts) {
      const makers = places(
        [...sourcePaths, ...simulationPaths],
        new RegExp(`\\bnew ${part}[<(]|\\b${part}\\.open\\(`),
      );
      const others = makers.filter((path) => path !== fileOf(part));
      expect({ part, others }).toEqual({ part, others: ['src/daemon/compose.ts'] });
    }
    // Beside them serve has the door through which commands come; what stands behind it is a part.
    expect(partsMade(functionText('src/daemon/serve.ts', 'startDaemon'))).toEqual([
      'ControlServer',
    ]);
  });

  test('the apply worker is the same, at the end of another port', () => {
    const makers = places([...sourcePaths, ...simulationPaths], /\bnew ApplyWorker\([^;]*?\)/);
    expect(makers).toEqual(['src/volume/apply-thread.ts', 'test/simulation/simulated-daemon.ts']);
    const statements = textOf('src/volume/apply-thread.ts').replace(
      /^import [^;]*;\n|^\/\*.*$/gm,
      '',
    );
    expect(statements.trim()).toBe(
      'new ApplyWorker(new NodeDisk(), nodeWorkerSide<FromApply, ToApply>());',
    );
    expect(textOf('test/simulation/simulated-daemon.ts')).toContain(
      '(port) => new ApplyWorker(disk, port)',
    );
  });

  test('the parts have nothing of the world but what they are given', () => {
    const reached = reachableFrom([...parts.map(fileOf), 'src/volume/apply.ts']);
    expect(reached.length).toBeGreaterThan(60);
    const found = reached.flatMap((path) => ambient(path).map((what) => `${path}: ${what}`));
    expect(found).toEqual([
      // Hooks are told where the control socket is; to reach it is the business of others.
      'src/control/client-socket.ts: node:fs',
      // Where randomness is injected, the real one is defined too.
      'src/platform/random.ts: node:crypto',
      // What a hash is depends on its bytes alone.
      'src/volume/unit-hashes.ts: node:crypto',
    ]);
    expect(new Set(places(sourcePaths, /\breachSocket\(/))).toEqual(
      new Set(['src/control/client-socket.ts', 'src/control/client.ts', 'src/control/server.ts']),
    );
    expect(new Set(places(sourcePaths, /\bnodeRandom\b/))).toEqual(
      new Set(['src/daemon/serve.ts', 'src/platform/random.ts']),
    );
  });
});
