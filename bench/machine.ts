import { statfsSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { runChecked } from '../test/support/children.ts';

export async function fileSystemOf(directory: string): Promise<string> {
  const { stdout } = await runChecked('df', ['--output=fstype', directory]);
  return stdout.trim().split('\n').at(-1) ?? 'unknown';
}

/** Throws where the file system has less room. `instead`: what can be done beside naming another place. */
export function requireSpace(directory: string, wantedBytes: number, instead: string): void {
  const { bavail, bsize } = statfsSync(directory);
  if (bavail * bsize >= wantedBytes) return;
  const size = (bytes: number) => `${(bytes / 1024 ** 3).toFixed(1)} GiB`;
  throw new Error(
    `${directory} has ${size(bavail * bsize)} free, this needs ${size(wantedBytes)}: ` +
      `name another place with --dir, or ${instead}`,
  );
}

/** What figures depend on. */
export async function describeMachine(directory: string) {
  const processors = cpus();
  const facts = {
    processors: processors.length,
    processor: processors[0]?.model ?? 'unknown',
    memoryGiB: Math.round(totalmem() / 1024 ** 3),
    kernel: release(),
    node: process.version,
    fileSystem: await fileSystemOf(directory),
  };
  const text =
    `${facts.processors} processors (${facts.processor}), ${facts.memoryGiB} GiB, ` +
    `Linux ${facts.kernel}, ${facts.fileSystem}, Node ${facts.node}`;
  return { ...facts, text };
}
