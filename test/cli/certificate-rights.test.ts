import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Status } from '../../src/control/schema-status.ts';
import { build, jnbd } from '../support/built-program.ts';
import { type CommandFailed, Daemon } from '../support/daemon.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';

let directory: TemporaryDirectory;
const daemons: Daemon[] = [];
let alpha: Daemon;
let beta: Daemon;

async function start(name: string, rights: readonly string[]): Promise<Daemon> {
  const pki = join(directory.path, 'pki');
  await jnbd(['pki', 'issue', pki, name, '--hosts', '127.0.0.1', ...rights]);
  const daemon = await Daemon.start({
    dataDirectory: join(directory.path, name),
    arguments: ['--name', name, '--tls', 'allow', '--tls-dir', join(pki, name)],
  });
  daemons.push(daemon);
  return daemon;
}

beforeAll(async () => {
  await build();
  directory = temporaryDirectory('rights');
  await jnbd(['pki', 'init', join(directory.path, 'pki')]);
  alpha = await start('alpha', []);
  beta = await start('beta', ['--groups', 'g,k', '--read-only']);
  for (const group of ['g', 'h']) {
    await alpha.client('group', 'create', group, '--journal-size', '64MiB');
    await alpha.client('volume', 'create', `${group}/v`, '--size', '1MiB');
  }
}, 120_000);

afterAll(async () => {
  for (const daemon of daemons) await daemon.kill();
  directory?.remove();
});

const url = (daemon: Daemon): string => `https://127.0.0.1:${daemon.listenPort}`;

async function refusal(command: Promise<unknown>): Promise<string> {
  const failed = await command.then(
    () => undefined,
    (error: CommandFailed) => error,
  );
  expect(failed?.code).toBe(4);
  return failed?.stderr ?? '';
}

/** As `name` asks, by its certificate. */
function get(name: string, path: string): Promise<{ status: number; body: string }> {
  const own = join(directory.path, 'pki', name);
  return new Promise((resolve, reject) => {
    const asked = request(
      {
        host: '127.0.0.1',
        port: alpha.listenPort,
        path,
        agent: false,
        ca: readFileSync(join(own, 'ca-cert.pem')),
        cert: readFileSync(join(own, 'client-cert.pem')),
        key: readFileSync(join(own, 'client-key.pem')),
      },
      (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (text: string) => (body += text));
        response.once('end', () => resolve({ status: response.statusCode ?? 0, body }));
      },
    );
    asked.once('error', reject);
    asked.end();
  });
}

describe('a certificate for some groups, and for reading', () => {
  it('follows these alone, and only where it is allowed', async () => {
    const follow = (group: string) => beta.client('follow', group, '--from', url(alpha));
    expect(await refusal(follow('g'))).toContain('jnbd secondary allow g beta');
    await alpha.client('secondary', 'allow', 'g', 'beta');
    await alpha.client('secondary', 'allow', 'h', 'beta');
    expect(await refusal(follow('h'))).toContain('to touch group h: it is for g, k');
    await follow('g');
    await beta.client('wait', 'g', '--for', 'synced', '--timeout', '30s');
  });

  it('sees these alone', async () => {
    const names = async (name: string): Promise<string[]> => {
      const { status, body } = await get(name, '/status');
      expect(status).toBe(200);
      return (JSON.parse(body) as Status).groups.map((group) => group.name);
    };
    expect(await names('alpha')).toEqual(['g', 'h']);
    expect(await names('beta')).toEqual(['g']);
    const { body } = await get('beta', '/events');
    const groups = body.split('\n').filter((line) => line !== '');
    expect(groups.length).toBeGreaterThan(0);
    for (const line of groups) expect(JSON.parse(line)).toMatchObject({ group: 'g' });
    expect((await get('beta', '/readyz')).body).not.toContain('"h"');
    expect(await get('beta', '/metrics')).toMatchObject({ status: 403 });
    expect(await get('alpha', '/metrics')).toMatchObject({ status: 200 });
    expect(await get('beta', '/healthz')).toMatchObject({ status: 200 });
  });

  it('makes nobody follow it; one that may change things does', async () => {
    await beta.client('group', 'create', 'k', '--journal-size', '64MiB');
    await beta.client('volume', 'create', 'k/v', '--size', '1MiB');
    const add = (from: Daemon, to: Daemon, group: string, name: string) =>
      from.client('secondary', 'add', group, name, '--url', url(to));
    expect(await refusal(add(beta, alpha, 'k', 'alpha'))).toContain('to change anything');
    const gamma = await start('gamma', []);
    await add(alpha, gamma, 'h', 'gamma');
    await gamma.client('wait', 'h', '--for', 'synced', '--timeout', '30s');
    const removed = alpha.client('secondary', 'remove', 'h', 'gamma');
    expect(await removed).toMatchObject({ group: { secondaries: [] } });
    const { groups } = (await gamma.client('status')) as Status;
    expect(groups).toMatchObject([{ name: 'h', upstream: null }]);
  });
});
