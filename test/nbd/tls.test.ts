import { randomBytes } from 'node:crypto';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import tls from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { NbdClient, type NbdClientOptions } from '../../src/nbd/client.ts';
import type { ClientTls } from '../../src/nbd/client-tls.ts';
import { encodeOption } from '../../src/nbd/option-codec.ts';
import { JnbdError } from '../../src/platform/errors.ts';
import { loadClientTls, loadServerTls, readPreSharedKeys } from '../../src/nbd/tls.ts';
import { formatNbdUri } from '../../src/nbd/uri.ts';
import { NBD_OPT_LIST, NBD_OPT_STARTTLS } from '../../src/nbd/wire.ts';
import { writeCertificates, writePreSharedKey } from '../support/certificates.ts';
import { type ServedVolumes, type ServeSettings, serveVolumes } from '../support/nbd-server.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';

const MiB = 1024 * 1024;
let directory: TemporaryDirectory;
let certificates: string;
let foreign: string;
let anonymous: string;
let keys: string;
let served: ServedVolumes | undefined;

beforeAll(async () => {
  directory = temporaryDirectory('nbd-tls');
  certificates = join(directory.path, 'certificates');
  foreign = join(directory.path, 'foreign');
  anonymous = join(directory.path, 'anonymous');
  keys = join(directory.path, 'keys.psk');
  await writeCertificates(certificates);
  await writeCertificates(foreign);
  await writeCertificates(anonymous);
  copyFileSync(join(certificates, 'ca-cert.pem'), join(anonymous, 'ca-cert.pem'));
  writePreSharedKey(keys, 'alice');
});
afterAll(() => directory.remove());
afterEach(async () => {
  await served?.stop();
  served = undefined;
});

async function serve(options: ServeSettings): Promise<ServedVolumes> {
  served = await serveVolumes([{}], options);
  return served;
}

function clientTls(of: Partial<ClientTls> = {}): ClientTls {
  return {
    ...loadClientTls(certificates, undefined, undefined),
    verifyPeer: true,
    hostName: undefined,
    ...of,
  };
}

function withoutCertificate(): ClientTls {
  const { authority = '' } = loadClientTls(certificates, undefined, undefined);
  return { authority, verifyPeer: true, hostName: undefined };
}

function withKey(user = 'alice'): ClientTls {
  return { ...loadClientTls(undefined, keys, user), verifyPeer: true, hostName: undefined };
}

async function exchange({ connect }: ServedVolumes, options: NbdClientOptions): Promise<void> {
  const client = await connect(options);
  expect(client.isSecure).toBe(options.tls !== undefined);
  const bytes = randomBytes(3 * MiB);
  await client.write(77, bytes);
  const answers = await Promise.all([client.read(77, bytes.length), client.read(77, 100)]);
  expect(answers[0]?.equals(bytes)).toBe(true);
  await client.flush();
  await client.close();
}

describe('certificates', () => {
  it.each(['TLSv1.2', 'TLSv1.3'] as const)('over %s', async (version) => {
    const credentials = loadServerTls({ directory: certificates, clientCertificates: 'required' });
    const volumes = await serve({ tlsMode: 'require', tls: credentials });
    const before = tls.DEFAULT_MAX_VERSION;
    tls.DEFAULT_MAX_VERSION = version;
    try {
      await exchange(volumes, { tls: clientTls() });
    } finally {
      tls.DEFAULT_MAX_VERSION = before;
    }
  });

  it('are not needed from clients where they are optional, but must be right', async () => {
    const credentials = loadServerTls({ directory: certificates, clientCertificates: 'optional' });
    const volumes = await serve({ tlsMode: 'require', tls: credentials });
    await exchange(volumes, { tls: clientTls() });
    await exchange(volumes, { tls: withoutCertificate() });
    const wrong = { ...loadClientTls(foreign, undefined, undefined) };
    const impostor = clientTls({ ...wrong, authority: withoutCertificate().authority ?? '' });
    await expect(volumes.connect({ tls: impostor })).rejects.toBeInstanceOf(JnbdError);
    await expect(
      volumes.connect({ tls: { ...impostor, verifyPeer: false } }),
    ).rejects.toBeInstanceOf(JnbdError);
  });

  it('are needed where they are required', async () => {
    const credentials = loadServerTls({ directory: certificates, clientCertificates: 'required' });
    const volumes = await serve({ tlsMode: 'require', tls: credentials });
    await expect(volumes.connect({ tls: withoutCertificate() })).rejects.toBeInstanceOf(JnbdError);
    await exchange(volumes, { tls: clientTls() });
  });

  it('of another authority are not believed', async () => {
    const credentials = loadServerTls({ directory: certificates, clientCertificates: 'optional' });
    const volumes = await serve({ tlsMode: 'allow', tls: credentials });
    const stranger = { ...loadClientTls(foreign, undefined, undefined) };
    const refused = volumes.connect({ tls: clientTls(stranger) });
    await expect(refused).rejects.toMatchObject({ code: 'certificate_invalid' });
    const misled = volumes.connect({ tls: clientTls({ hostName: 'example.com' }) });
    await expect(misled).rejects.toMatchObject({ code: 'certificate_invalid' });
  });

  it('that cannot be used are named', () => {
    const clientCertificates = 'optional';
    expect(() => loadServerTls({ clientCertificates })).toThrow(/needs a directory/);
    const missing = join(directory.path, 'missing');
    expect(() => loadServerTls({ directory: missing, clientCertificates })).toThrow(
      /cannot read .*ca-cert\.pem/,
    );
    const mixed = join(directory.path, 'anonymous');
    copyFileSync(join(foreign, 'server-key.pem'), join(mixed, 'server-key.pem'));
    expect(() => loadServerTls({ directory: mixed, clientCertificates })).toThrow(
      /server-cert\.pem and server-key\.pem/,
    );
  });
});

describe('pre-shared keys', () => {
  it.each(['TLSv1.2', 'TLSv1.3'] as const)('over %s', async (version) => {
    const credentials = loadServerTls({ preSharedKeyFile: keys, clientCertificates: 'required' });
    const volumes = await serve({ tlsMode: 'require', tls: credentials });
    const before = tls.DEFAULT_MAX_VERSION;
    tls.DEFAULT_MAX_VERSION = version;
    try {
      await exchange(volumes, { tls: withKey() });
      const { preSharedKey } = withKey();
      const key = randomBytes(32);
      const wrongKey = { ...withKey(), preSharedKey: { identity: 'alice', key } };
      await expect(volumes.connect({ tls: wrongKey })).rejects.toBeInstanceOf(JnbdError);
      const nobody = {
        ...withKey(),
        preSharedKey: { identity: 'eve', key: preSharedKey?.key ?? key },
      };
      await expect(volumes.connect({ tls: nobody })).rejects.toBeInstanceOf(JnbdError);
    } finally {
      tls.DEFAULT_MAX_VERSION = before;
    }
  });

  it('stand beside certificates', async () => {
    const credentials = loadServerTls({
      directory: certificates,
      preSharedKeyFile: keys,
      clientCertificates: 'required',
    });
    const volumes = await serve({ tlsMode: 'require', tls: credentials });
    await exchange(volumes, { tls: withKey() });
    await exchange(volumes, { tls: clientTls() });
    await expect(volumes.connect({ tls: withoutCertificate() })).rejects.toBeInstanceOf(JnbdError);
  });

  it('are read as psktool writes them', () => {
    const file = join(directory.path, 'some.psk');
    writeFileSync(file, 'alice:00112233445566778899aabbccddeeff\n\nbob:x:0123456789abcdef\n');
    const read = readPreSharedKeys(file);
    expect([...read.keys()]).toEqual(['alice', 'bob:x']);
    for (const line of ['alice', ':00112233445566778899', 'alice:0011', 'alice:xyz', '']) {
      writeFileSync(file, `${line}\n`);
      expect(() => readPreSharedKeys(file)).toThrow(/some\.psk/);
    }
    expect(() => loadClientTls(undefined, keys, 'carol')).toThrow(/no key for carol/);
  });

  it('are found through a URI', async () => {
    const credentials = loadServerTls({ preSharedKeyFile: keys, clientCertificates: 'optional' });
    const volumes = await serve({ tlsMode: 'require', tls: credentials });
    const uri = formatNbdUri(volumes.address, '', true).replace('nbds://', 'nbds://alice@');
    const client = await NbdClient.connectUri(`${uri}?tls-psk-file=${keys}`);
    expect(client.isSecure).toBe(true);
    await client.close();
  });
});

describe('modes', () => {
  it('allow serves both ways, require only one', async () => {
    const credentials = loadServerTls({ directory: certificates, clientCertificates: 'optional' });
    const allowing = await serve({ tlsMode: 'allow', tls: credentials });
    await exchange(allowing, {});
    await exchange(allowing, { tls: clientTls() });
    await allowing.stop();
    const requiring = await serve({ tlsMode: 'require', tls: credentials });
    await expect(requiring.connect()).rejects.toThrow(/requires TLS/);
  });

  it('nothing negotiated in the open is left behind STARTTLS', async () => {
    const credentials = loadServerTls({ directory: certificates, clientCertificates: 'optional' });
    const volumes = await serve({ tlsMode: 'allow', tls: credentials });
    const handshake = await volumes.handshake();
    await handshake.negotiateReplyForm('extended');
    await handshake.setMetaContexts('', ['base:allocation']);
    await handshake.startTls(clientTls());
    const client = new NbdClient(handshake, await handshake.go(''));
    expect((await client.request({ type: 0, length: 512 })).isSimple).toBe(true);
    await client.close();
  });

  it('what is put behind STARTTLS in the open ends the connection', async () => {
    const credentials = loadServerTls({ directory: certificates, clientCertificates: 'optional' });
    const volumes = await serve({ tlsMode: 'require', tls: credentials });
    const handshake = await volumes.handshake();
    await handshake.stream.write(
      Buffer.concat([encodeOption(NBD_OPT_STARTTLS), encodeOption(NBD_OPT_LIST)]),
    );
    await expect(handshake.stream.read(1)).rejects.toMatchObject({ code: 'daemon_unreachable' });
  });

  it('a client that stalls or talks nonsense instead of TLS is cut off', async () => {
    const credentials = loadServerTls({ directory: certificates, clientCertificates: 'optional' });
    const volumes = await serve({
      tlsMode: 'require',
      tls: credentials,
      handshakeMilliseconds: 300,
    });
    for (const nonsense of [Buffer.alloc(0), Buffer.alloc(2000, 0x16), readFileSync(keys)]) {
      const handshake = await volumes.handshake();
      await handshake.option(NBD_OPT_STARTTLS);
      await handshake.stream.write(nonsense);
      await expect(handshake.stream.read(10_000)).rejects.toBeInstanceOf(JnbdError);
    }
    await exchange(volumes, { tls: clientTls() });
  });
});
