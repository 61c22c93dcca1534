import { X509Certificate } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import tls from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type CertificateOrder,
  createAuthority,
  issueCertificate,
} from '../../src/platform/certificate-authority.ts';
import { rightsOf } from '../../src/platform/certificate-rights.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';

const dayMilliseconds = 86_400_000;
const now = Date.now();
let directory: TemporaryDirectory;
let authority: string;

beforeAll(async () => {
  directory = temporaryDirectory('pki');
  authority = join(directory.path, 'authority');
  await createAuthority({ directory: authority, name: undefined, days: undefined }, now);
});

afterAll(() => directory?.remove());

function order(system: string, changes: Partial<CertificateOrder> = {}): CertificateOrder {
  return {
    authorityDirectory: authority,
    system,
    groups: 'all',
    access: 'change',
    hosts: undefined,
    days: undefined,
    ...changes,
  };
}

function certificateIn(path: string): X509Certificate {
  return new X509Certificate(readFileSync(path));
}

function modes(path: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(path).map((name) => [name, (statSync(join(path, name)).mode & 0o777).toString(8)]),
  );
}

describe('an authority', () => {
  it('is made once, and keeps its key to itself', async () => {
    const path = join(directory.path, 'once', 'deeper');
    const mask = process.umask(0);
    const first = await createAuthority({ directory: path, name: 'x', days: 10 }, now).finally(() =>
      process.umask(mask),
    );
    expect(first.created).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o700);
    expect(modes(path)).toEqual({ 'ca-cert.pem': '644', 'ca-key.pem': '600' });
    const certificate = certificateIn(join(path, 'ca-cert.pem'));
    expect(certificate).toMatchObject({ ca: true, subject: 'CN=x authority' });
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(Date.parse(certificate.validTo) - now).toBeGreaterThan(9.9 * dayMilliseconds);
    expect(first.validUntil).toBe(new Date(certificate.validTo).toISOString());
    const key = readFileSync(join(path, 'ca-key.pem'));
    for (const again of [
      { name: undefined, days: undefined },
      { name: 'x', days: 10 },
    ]) {
      const second = await createAuthority({ directory: path, ...again }, now);
      expect(second).toEqual({ ...first, created: false });
    }
    expect(readFileSync(join(path, 'ca-key.pem'))).toEqual(key);
  });

  it.each([
    { name: 'other', days: undefined },
    { name: undefined, days: 3 },
  ])('is not made over another one: %j', async (parameters) => {
    const before = readFileSync(join(authority, 'ca-cert.pem'));
    await expect(createAuthority({ directory: authority, ...parameters }, now)).rejects.toThrow(
      /has an authority of CN=jnbd authority, .* it is not overwritten/,
    );
    expect(readFileSync(join(authority, 'ca-cert.pem'))).toEqual(before);
  });

  it('is not made over half of one, or one that ended', async () => {
    const half = join(directory.path, 'half');
    mkdirSync(half);
    writeFileSync(join(half, 'ca-key.pem'), 'secret');
    const asked = { directory: half, name: undefined, days: undefined };
    await expect(createAuthority(asked, now)).rejects.toMatchObject({ code: 'exists_differently' });
    expect(readFileSync(join(half, 'ca-key.pem'), 'utf8')).toBe('secret');
    const later = now + 4000 * dayMilliseconds;
    await expect(createAuthority({ ...asked, directory: authority }, later)).rejects.toThrow(
      /valid until/,
    );
  });

  it('cannot be where nothing can be written', async () => {
    const asked = { directory: '/proc/authority', name: undefined, days: undefined };
    await expect(createAuthority(asked, now)).rejects.toMatchObject({ code: 'write_failed' });
  });

  it('signs for those who have it alone', async () => {
    const path = join(directory.path, 'open');
    await createAuthority({ directory: path, name: undefined, days: undefined }, now);
    chmodSync(join(path, 'ca-key.pem'), 0o640);
    await expect(issueCertificate(order('a', { authorityDirectory: path }), now)).rejects.toThrow(
      /can be read by others than its owner; chmod 600/,
    );
    chmodSync(join(path, 'ca-key.pem'), 0o600);
    writeFileSync(join(path, 'ca-key.pem'), readFileSync(join(authority, 'ca-key.pem')));
    await expect(issueCertificate(order('a', { authorityDirectory: path }), now)).rejects.toThrow(
      /do not belong together/,
    );
    writeFileSync(join(path, 'ca-key.pem'), 'no key');
    await expect(issueCertificate(order('a', { authorityDirectory: path }), now)).rejects.toThrow(
      /ca-key.pem cannot be read as a key/,
    );
    expect(readdirSync(path)).toEqual(['ca-cert.pem', 'ca-key.pem']);
  });
});

describe('a certificate', () => {
  it('is what was ordered, and complete', async () => {
    const issued = await issueCertificate(
      order('paris', { groups: ['main', 'db'], access: 'read', hosts: ['paris.example', '::1'] }),
      now,
    );
    expect(issued).toMatchObject({
      created: true,
      directory: join(authority, 'paris'),
      hosts: ['paris.example', '::1'],
    });
    expect(statSync(issued.directory).mode & 0o777).toBe(0o700);
    expect(modes(issued.directory)).toEqual({
      'ca-cert.pem': '644',
      'client-cert.pem': '644',
      'client-key.pem': '600',
      'server-cert.pem': '644',
      'server-key.pem': '600',
    });
    const certificate = certificateIn(join(issued.directory, 'server-cert.pem'));
    const signer = certificateIn(join(issued.directory, 'ca-cert.pem'));
    expect(certificate.checkIssued(signer)).toBe(true);
    expect(certificate.verify(signer.publicKey)).toBe(true);
    expect(certificate.ca).toBe(false);
    expect(certificate.checkHost('paris.example')).toBe('paris.example');
    expect(certificate.checkIP('::1')).toBe('::1');
    expect(certificate.checkHost('paris')).toBeUndefined();
    expect(rightsOf(certificate)).toEqual({
      system: 'paris',
      groups: ['main', 'db'],
      access: 'read',
    });
    expect(issued.fingerprint).toMatch(/^[0-9a-f]{64}$/);
  });

  it('is made once', async () => {
    const asked = order('once', { hosts: ['One', '::1'], groups: ['a', 'b'], days: 5 });
    const first = await issueCertificate(asked, now);
    const key = readFileSync(join(first.directory, 'client-key.pem'));
    const same = { ...asked, hosts: ['0:0:0:0:0:0:0:1', 'one'], groups: ['b', 'a'] };
    expect(await issueCertificate(same, now)).toEqual({ ...first, created: false });
    for (const other of [
      { ...asked, hosts: ['one'] },
      { ...asked, groups: 'all' as const },
      { ...asked, access: 'read' as const },
      { ...asked, days: 6 },
    ]) {
      await expect(issueCertificate(other, now)).rejects.toMatchObject({
        code: 'exists_differently',
      });
    }
    await expect(issueCertificate(asked, now + 6 * dayMilliseconds)).rejects.toThrow(
      /remove the directory for a new one/,
    );
    expect(readFileSync(join(first.directory, 'client-key.pem'))).toEqual(key);
    rmSync(first.directory, { recursive: true });
    expect((await issueCertificate(asked, now)).created).toBe(true);
    expect(readFileSync(join(first.directory, 'client-key.pem'))).not.toEqual(key);
  });

  it('of another authority is no certificate of this one', async () => {
    const path = join(directory.path, 'second');
    await createAuthority({ directory: path, name: undefined, days: undefined }, now);
    const asked = order('stray');
    const { directory: stray } = await issueCertificate(asked, now);
    mkdirSync(join(path, 'stray'));
    writeFileSync(
      join(path, 'stray', 'server-cert.pem'),
      readFileSync(join(stray, 'server-cert.pem')),
    );
    await expect(
      issueCertificate({ ...asked, authorityDirectory: path }, now),
    ).rejects.toMatchObject({ code: 'exists_differently' });
  });

  it('is valid no longer than its authority, also beyond 2050', async () => {
    const path = join(directory.path, 'long');
    await createAuthority({ directory: path, name: undefined, days: 20_000 }, now);
    const asked = order('a', { authorityDirectory: path, days: 30_000 });
    const issued = await issueCertificate(asked, now);
    const end = certificateIn(join(path, 'ca-cert.pem')).validTo;
    expect(issued.validUntil).toBe(new Date(end).toISOString());
    expect(Date.parse(end) - now).toBeGreaterThan(19_999 * dayMilliseconds);
    expect((await issueCertificate(asked, now)).created).toBe(false);
    await expect(
      issueCertificate({ ...asked, system: 'b' }, now + 20_001 * dayMilliseconds),
    ).rejects.toThrow(/the authority in .* was valid until/);
  });

  it('is for a host of the name of its system, where that can be one', async () => {
    expect((await issueCertificate(order('rome-2'), now)).hosts).toEqual(['rome-2']);
    expect((await issueCertificate(order('rome_3'), now)).hosts).toEqual([]);
  });

  it('wants an authority', async () => {
    const asked = order('a', { authorityDirectory: join(directory.path, 'nowhere') });
    await expect(issueCertificate(asked, now)).rejects.toThrow(/make one: jnbd pki init .*nowhere/);
  });
});

describe('TLS with these certificates', () => {
  const credentials = (name: string, role: 'server' | 'client') => {
    const path = join(authority, name);
    return {
      ca: readFileSync(join(path, 'ca-cert.pem')),
      cert: readFileSync(join(path, `${role}-cert.pem`)),
      key: readFileSync(join(path, `${role}-key.pem`)),
    };
  };

  /** What the server knows of its client, or what went wrong. */
  function meet(server: tls.TlsOptions, client: tls.ConnectionOptions): Promise<unknown> {
    return new Promise((resolve) => {
      const listener = tls.createServer({ requestCert: true, ...server }, (socket) => {
        const certificate = socket.getPeerX509Certificate();
        resolve(certificate && rightsOf(certificate));
        socket.end();
        listener.close();
      });
      const failed = (error: Error): void => {
        resolve(error.message);
        listener.close();
      };
      listener.on('tlsClientError', failed);
      listener.listen(0, '127.0.0.1', () => {
        const address = listener.address();
        if (address === null || typeof address === 'string') return;
        tls.connect({ port: address.port, host: '127.0.0.1', ...client }).on('error', failed);
      });
    });
  }

  beforeAll(async () => {
    await issueCertificate(order('oslo', { hosts: ['localhost'] }), now);
    await issueCertificate(order('bern', { groups: ['main'], hosts: [] }), now);
  });

  it('lets either be server and client', async () => {
    const client = { ...credentials('bern', 'client'), servername: 'localhost' };
    expect(await meet(credentials('oslo', 'server'), client)).toEqual({
      system: 'bern',
      groups: ['main'],
      access: 'change',
    });
  });

  it('refuses a server that names another host', async () => {
    const client = { ...credentials('oslo', 'client'), servername: 'localhost' };
    expect(await meet(credentials('bern', 'server'), client)).toMatch(/altnames|alert/i);
  });

  it('refuses a client of another authority', async () => {
    const path = join(directory.path, 'stranger');
    await createAuthority({ directory: path, name: undefined, days: undefined }, now);
    await issueCertificate(order('bern', { authorityDirectory: path }), now);
    const client = {
      ca: readFileSync(join(authority, 'ca-cert.pem')),
      cert: readFileSync(join(path, 'bern', 'client-cert.pem')),
      key: readFileSync(join(path, 'bern', 'client-key.pem')),
      servername: 'localhost',
    };
    expect(await meet(credentials('oslo', 'server'), client)).toEqual(expect.any(String));
  });
});
