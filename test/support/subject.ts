import { closeSync, ftruncateSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { Daemon } from './daemon.ts';
import { type NbdServer, nbdkitDirectory } from './peers.ts';

/** The server that the interop tests talk to, with what they must know of its volumes. */
export interface Subject extends NbdServer {
  /** The file that holds the volume's contents once applied. */
  backingFile(volume: string): Promise<string>;
}

export interface SubjectOptions {
  readonly directory: string;
  /** Name and size in bytes of each volume, created empty. */
  readonly volumes: Readonly<Record<string, number>>;
  /** Further arguments of `serve`. */
  readonly arguments?: readonly string[];
  readonly nbd?: readonly string[];
}

/**
 * A running daemon with the volumes in one group. `JNBD_TEST_SUBJECT=nbdkit` puts nbdkit in its place:
 * that is for working on the tests themselves.
 */
export async function startSubject(options: SubjectOptions): Promise<Subject> {
  if (process.env['JNBD_TEST_SUBJECT'] === 'nbdkit') {
    for (const [name, sizeBytes] of Object.entries(options.volumes)) {
      const file = openSync(join(options.directory, name), 'w');
      ftruncateSync(file, sizeBytes);
      closeSync(file);
    }
    const server = await nbdkitDirectory(options.directory);
    await server.start();
    return Object.assign(server, {
      backingFile: (volume: string) => Promise.resolve(join(options.directory, volume)),
    });
  }
  const daemon = await Daemon.start({
    dataDirectory: join(options.directory, 'data'),
    ...(options.nbd && { nbd: options.nbd }),
    ...(options.arguments && { arguments: options.arguments }),
  });
  await daemon.client('group', 'create', 'g');
  for (const [name, sizeBytes] of Object.entries(options.volumes)) {
    await daemon.client('volume', 'create', `g/${name}`, '--size', String(sizeBytes));
  }
  return Object.assign(daemon, {
    backingFile: (volume: string) => daemon.volumeFile(`g/${volume}`),
  });
}
