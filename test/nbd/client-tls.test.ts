import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import tls from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type ClientTls, tlsFailure } from '../../src/nbd/client-tls.ts';
import { openNbdSource } from '../../src/nbd/import-source.ts';
import { loadClientTls, loadServerTls, readPreSharedKeys } from '../../src/nbd/tls.ts';
import { formatNbdUri } from '../../src/nbd/uri.ts';
import { JnbdError } from '../../src/platform/errors.ts';
import { writeCertificates, writePreSharedKey } from '../support/certificates.ts';
import { type ServedVolumes, serveVolumes } from '../support/nbd-server.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';

let directory: TemporaryDirectory;
let ours: string;
let foreign: string;
let keys: string;
let served: ServedVolumes | undefined;

beforeAll(async () => {
  directory = temporaryDirectory('client-tls');
  ours = join(directory.path, 'ours');
  foreign = join(directory.path, 'foreign');
  keys = join(directory.path, 'keys.psk');
  await writeCertificates(ours);
  await writeCertificates(foreign);
  writePreSharedKey(keys, 'alice');
});
afterAll(() => directory.remove());
afterEach(async () => {
  await served?.stop();
  served = undefined;
});

const verified = { verifyPeer: true, hostName: undefined } as const;

/** What the client says of a server; nothing of it may be in OpenSSL's words. */
async function failure(volumes: ServedVolumes, credentials: ClientTls): Promise<string> {
  const error: unknown = await volumes.connect({ tls: credentials }).then(
    (client) => client.destroy(),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(JnbdError);
  const { code, message } = error as JnbdError;
  expect(code).toBe('certificate_invalid');
  expect(message).toMatch(/^TLS with 127\.0\.0\.1:\d+ cannot be established: /);
  expect(message).not.toMatch(/error:|routines|ssl3|SSL alert|\n/);
  return message;
}

/** Without its own certificate. */
function trusting(of: string): ClientTls {
  const { authority = '' } = loadClientTls(of, undefined, undefined);
  return { directory: of, authority, ...verified };
}

function withKey(user: string, key?: Uint8Array): ClientTls {
  const [known = new Uint8Array()] = readPreSharedKeys(keys).values();
  return {
    preSharedKeyFile: keys,
    preSharedKey: { identity: user, key: key ?? known },
    ...verified,
  };
}

function withCertificate(of = ours): ClientTls {
  return { ...loadClientTls(of, undefined, undefined), ...verified };
}

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('over %s', (version) => {
  const before = tls.DEFAULT_MAX_VERSION;
  beforeAll(() => {
    tls.DEFAULT_MAX_VERSION = version;
  });
  afterAll(() => {
    tls.DEFAULT_MAX_VERSION = before;
  });

  it('a server with certificates is told by what does not fit', async () => {
    const credentials = loadServerTls({ directory: ours, clientCertificates: 'required' });
    served = await serveVolumes([{}], { tlsMode: 'require', tls: credentials });
    const own = withCertificate();
    const stranger = withCertificate(foreign);
    expect(await failure(served, { ...own, hostName: 'example.com' })).toMatch(
      /is for DNS:localhost, IP Address:127\.0\.0\.1, not for example\.com; .*tls-hostname=NAME/,
    );
    expect(await failure(served, trusting(ours))).toMatch(
      new RegExp(`wants a certificate.*client-cert\\.pem and client-key\\.pem into ${ours}`),
    );
    const { certificate, key } = own;
    const strangeAuthority = { ...stranger, certificate: certificate ?? '', key: key ?? '' };
    expect(await failure(served, strangeAuthority)).toContain(
      `not signed by the authority in ${foreign}/ca-cert.pem`,
    );
    const { authority: _, ...unknowing } = { ...own };
    expect(await failure(served, unknowing)).toMatch(/no authority .*tls-certificates=DIR/);
    const impostor = { ...stranger, authority: own.authority ?? '' };
    expect(await failure(served, impostor)).toContain(
      `perhaps it does not accept ${foreign}/client-cert.pem`,
    );
    expect(await failure(served, withKey('alice'))).toMatch(
      /the key of alice in .*keys\.psk|wants a certificate/,
    );
  });

  it('a server with keys is told by the key that does not fit', async () => {
    const credentials = loadServerTls({ preSharedKeyFile: keys, clientCertificates: 'optional' });
    served = await serveVolumes([{}], { tlsMode: 'require', tls: credentials });
    const refused = `the server does not take the key of alice in ${keys}`;
    expect(await failure(served, withKey('alice', randomBytes(32)))).toContain(refused);
    expect(await failure(served, withKey('eve'))).toContain(`the key of eve in ${keys}`);
    expect(await failure(served, withCertificate())).toMatch(
      /does not take certificates.*tls-psk-file=FILE/,
    );
    expect(await failure(served, trusting(ours))).toMatch(/or a pre-shared key.*tls-psk-file=FILE/);
  });

  it('a key is what proves the server: no certificate takes its place', async () => {
    const credentials = loadServerTls({ directory: ours, clientCertificates: 'optional' });
    served = await serveVolumes([{}], { tlsMode: 'require', tls: credentials });
    expect(await failure(served, withKey('alice'))).toContain(`the key of alice in ${keys}`);
  });
});

it('a server that goes on without TLS is told so', async () => {
  const server = net.createServer((socket) => {
    socket.on('error', () => undefined);
    const greeting = Buffer.from('4e42444d414749434948415645 4f50540003'.replace(' ', ''), 'hex');
    socket.write(greeting);
    socket.on('data', (bytes) => {
      if (bytes.length <= 4) return;
      const option = bytes.length >= 16 ? bytes.readUInt32BE(bytes.length - 8) : 0;
      if (option !== 5) {
        socket.write('this is no TLS at all, and long enough');
        return;
      }
      const reply = Buffer.alloc(20);
      reply.writeBigUInt64BE(0x3e889045565a9n, 0);
      reply.writeUInt32BE(5, 8);
      reply.writeUInt32BE(1, 12);
      socket.write(reply);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  const uri = `nbds://127.0.0.1:${port}/?tls-certificates=${ours}`;
  const error: unknown = await openNbdSource(uri)?.catch((thrown: unknown) => thrown);
  server.close();
  expect(error).toMatchObject({ code: 'certificate_invalid' });
  expect((error as JnbdError).message).toContain('goes on without TLS after it agreed to it');
  expect((error as JnbdError).cause).toBeInstanceOf(Error);
});

it('an import says what did not fit, and keeps the cause', async () => {
  const credentials = loadServerTls({ directory: ours, clientCertificates: 'optional' });
  served = await serveVolumes([{}], { tlsMode: 'require', tls: credentials });
  const uri = `${formatNbdUri(served.address, '', true)}?tls-certificates=${foreign}`;
  const error: unknown = await openNbdSource(uri)?.catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: 'certificate_invalid' });
});

it.each([
  ['CERT_HAS_EXPIRED', /has expired/],
  ['CERT_NOT_YET_VALID', /clocks/],
  ['CERT_REVOKED', /revoked/],
  ['INVALID_PURPOSE', /not one for servers/],
  ['ERR_SSL_UNSUPPORTED_PROTOCOL', /1\.2 and 1\.3/],
  ['ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION', /1\.2 and 1\.3/],
  ['ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', /does not accept .*client-cert\.pem \(unknown ca\)/],
  ['ERR_SSL_SOMETHING_ELSE', /ERR_SSL_SOMETHING_ELSE$/],
])('%s is said in words', (code, text) => {
  const address = { kind: 'tcp', host: 'host', port: 1 } as const;
  const cause = Object.assign(new Error('0123:error:0A000410:SSL routines:x.c:12:\n'), { code });
  const error = tlsFailure(address, withCertificate(), cause);
  expect(error.message).toMatch(text);
  expect(error.cause).toBe(cause);
});

describe('files that cannot be used are named', () => {
  function copies(name: string): string {
    const to = join(directory.path, name);
    mkdirSync(to);
    for (const file of ['ca-cert', 'client-cert', 'client-key', 'server-cert', 'server-key'])
      copyFileSync(join(ours, `${file}.pem`), join(to, `${file}.pem`));
    return to;
  }

  it.each(['ca-cert', 'client-cert', 'client-key'])('%s.pem of a client', (file) => {
    const bad = copies(`bad ${file}`);
    writeFileSync(join(bad, `${file}.pem`), 'nothing');
    expect(() => loadClientTls(bad, undefined, undefined)).toThrow(
      new RegExp(`^${bad}/${file}\\.pem holds no (certificate|private key) in PEM form`),
    );
  });

  it.each(['ca-cert', 'server-cert', 'server-key'])('%s.pem of a server', (file) => {
    const bad = copies(`bad server's ${file}`);
    writeFileSync(join(bad, `${file}.pem`), 'nothing');
    expect(() => loadServerTls({ directory: bad, clientCertificates: 'optional' })).toThrow(
      new RegExp(`^${bad}/${file}\\.pem holds no (certificate|private key) in PEM form`),
    );
  });

  it('a key of another certificate', () => {
    const mixed = copies('mixed');
    copyFileSync(join(foreign, 'client-key.pem'), join(mixed, 'client-key.pem'));
    expect(() => loadClientTls(mixed, undefined, undefined)).toThrow(
      `client-cert.pem and client-key.pem in ${mixed} do not belong together`,
    );
  });
});
