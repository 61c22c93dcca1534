import { closeSync, ftruncateSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { Daemon } from './daemon.ts';
import { nbdkitDirectory, type NbdServer } from './peers.ts';

/** The server that the interop tests talk to, with what they must know of its volumes. */
export interface Subject extends NbdServer {
  /** The file that holds the volume's contents once applied. */
  backingFile(volume: string): Promise<string>;
}

export interface SubjectOptions {
  readonly directory: string;
  /** Name and size in bytes of each volume, created empty. */
  readonly volumes: Readonly<Record<string, number>>;
  /** A Unix socket to serve on beside the TCP port. */
  readonly socket?: string;
  /** Certificates: all clients must use TLS and show one. */
  readonly certificates?: string;
  /** All clients must use TLS with a key of this file. */
  readonly preSharedKeys?: string;
}

/**
 * A running daemon with the volumes in one group. `JNBD_TEST_SUBJECT=nbdkit` puts nbdkit in its place:
 * that is for working on the tests themselves.
 */
export async function startSubject(options: SubjectOptions): Promise<Subject> {
  if (process.env['JNBD_TEST_SUBJECT'] === 'nbdkit') return startStandIn(options);
  const daemon = await Daemon.start({
    dataDirectory: join(options.directory, 'data'),
    nbd: options.socket === undefined ? [] : [`unix:${options.socket}`],
    arguments: [
      ...(options.certificates === undefined && options.preSharedKeys === undefined
        ? []
        : ['--tls', 'require']),
      ...(options.certificates === undefined
        ? []
        : ['--tls-dir', options.certificates, '--client-certs', 'required']),
      ...(options.preSharedKeys === undefined ? [] : ['--psk-file', options.preSharedKeys]),
    ],
  });
  await daemon.client('group', 'create', 'g');
  for (const [name, sizeBytes] of Object.entries(options.volumes)) {
    await daemon.client('volume', 'create', `g/${name}`, '--size', String(sizeBytes));
  }
  return Object.assign(daemon, {
    backingFile: (volume: string) => daemon.volumeFile(`g/${volume}`),
  });
}

async function startStandIn(options: SubjectOptions): Promise<Subject> {
  for (const [name, sizeBytes] of Object.entries(options.volumes)) {
    const file = openSync(join(options.directory, name), 'w');
    ftruncateSync(file, sizeBytes);
    closeSync(file);
  }
  const server = await nbdkitDirectory(options.directory, [
    ...(options.certificates === undefined
      ? []
      : ['--tls=require', `--tls-certificates=${options.certificates}`, '--tls-verify-peer']),
    ...(options.preSharedKeys === undefined
      ? []
      : ['--tls=require', `--tls-psk=${options.preSharedKeys}`]),
  ]);
  await server.start();
  return Object.assign(server, {
    backingFile: (volume: string) => Promise.resolve(join(options.directory, volume)),
  });
}
