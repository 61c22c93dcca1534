import { existsSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NbdClient } from '../../src/nbd/client.ts';
import { encodeOption } from '../../src/nbd/option-codec.ts';
import { NbdServer } from '../../src/nbd/server.ts';
import { formatNbdUri } from '../../src/nbd/uri.ts';
import {
  NBD_CMD_FLAG_FUA,
  NBD_CMD_READ,
  NBD_CMD_WRITE,
  NBD_OPT_LIST,
  NBD_REP_ERR_SHUTDOWN,
} from '../../src/nbd/wire.ts';
import { nodeClock } from '../../src/platform/clock.ts';
import { JnbdError } from '../../src/platform/errors.ts';
import type { ListenAddress } from '../../src/platform/network.ts';
import { nodeNetwork } from '../../src/platform/node-network.ts';
import { memoryDirectory } from '../support/memory-export.ts';
import { eventually, type ServedVolumes, serveVolumes } from '../support/nbd-server.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';

const MiB = 1024 * 1024;
const ESHUTDOWN = 108;
let served: ServedVolumes | undefined;
let directory: TemporaryDirectory;

beforeEach(() => {
  directory = temporaryDirectory('nbd-server');
});
afterEach(async () => {
  await served?.stop();
  served = undefined;
  directory.remove();
});

async function serve(...args: Parameters<typeof serveVolumes>): Promise<ServedVolumes> {
  served = await serveVolumes(...args);
  return served;
}

function emptyServer(options: ConstructorParameters<typeof NbdServer>[1] = {}): NbdServer {
  const exports = memoryDirectory([]);
  return new NbdServer({ network: nodeNetwork, clock: nodeClock, exports }, options);
}

describe('addresses', () => {
  it('serves on a Unix socket, and takes over one that nobody listens on', async () => {
    const path = join(directory.path, 'nbd.sock');
    // What a process leaves that was killed: a socket that nobody accepts on.
    const abandoned = net.createServer().listen(path);
    await new Promise((resolve) => abandoned.once('listening', resolve));
    const handle: unknown = Reflect.get(abandoned, '_handle');
    expect(handle).toBeTruthy();
    const first = await serve([{}], { listen: { kind: 'unix', path: `${path}2` } });
    const client = await NbdClient.connectUri(formatNbdUri(first.address, 'memory'));
    await client.write(0, Buffer.from('through a socket'));
    expect(first.server.connections()[0]?.peer).toBe(`${path}2`);
    await client.close();
    await expect(emptyServer().listen([{ kind: 'unix', path }])).rejects.toMatchObject({
      code: 'address_in_use',
    });
    abandoned.close();
    await first.stop();
    expect(existsSync(`${path}2`)).toBe(false);
  });

  it('names an address that is in use, and listens on none of them', async () => {
    const { address } = await serve();
    const server = emptyServer();
    const free: ListenAddress = { kind: 'unix', path: join(directory.path, 'free') };
    const refused = server.listen([free, address]);
    await expect(refused).rejects.toMatchObject({ code: 'address_in_use' });
    await expect(refused).rejects.toThrow(/127\.0\.0\.1:\d+ is in use/);
    expect(existsSync(free.path)).toBe(false);
  });

  it('does not leave loopback without TLS unless told to', async () => {
    const everywhere: ListenAddress = { kind: 'tcp', host: '0.0.0.0', port: 0 };
    for (const host of ['0.0.0.0', '::', '192.0.2.1', 'example.com', '127.0.0.1.example.com']) {
      const listening = emptyServer().listen([{ kind: 'tcp', host, port: 0 }]);
      await expect(listening).rejects.toMatchObject({
        code: 'address_not_allowed',
        kind: 'refused',
      });
    }
    const tls = { clientCertificates: 'optional', preSharedKeys: new Map() } as const;
    const allowed = emptyServer({ tlsMode: 'allow', tls });
    await expect(allowed.listen([everywhere])).rejects.toThrow(/require TLS/);
    for (const options of [{ insecure: true }, { tlsMode: 'require', tls } as const]) {
      const server = emptyServer(options);
      await server.listen([everywhere]);
      await server.stop(0);
    }
  });

  it('wants credentials for TLS', () => {
    expect(() => emptyServer({ tlsMode: 'require' })).toThrow(JnbdError);
  });
});

describe('limits', () => {
  it('cuts off a client that does not finish the handshake in time', async () => {
    const { handshake, server } = await serve([{}], { handshakeMilliseconds: 300 });
    const slow = await handshake();
    expect(server.connections()).toMatchObject([{ exportName: undefined, isSecure: false }]);
    await expect(slow.stream.read(1)).rejects.toMatchObject({ code: 'daemon_unreachable' });
    await eventually('it is forgotten', () => server.connections().length === 0);
  });

  it('makes place for a newcomer where somebody only shakes hands', async () => {
    const { handshake, connect, server } = await serve([{}], { connectionsMax: 2 });
    const first = await connect();
    const idle = await handshake();
    const second = await connect();
    await second.write(0, Buffer.alloc(10));
    await expect(idle.stream.read(1)).rejects.toBeInstanceOf(JnbdError);
    expect(server.connections().length).toBe(2);
    // All are at work: the newcomer is turned away.
    await expect(connect()).rejects.toMatchObject({ code: 'daemon_unreachable' });
    await first.write(0, Buffer.alloc(10));
    await first.close();
    await second.close();
  });

  it('tells who is connected to what', async () => {
    const { connect, server } = await serve([{ name: 'g/a' }, { name: 'g/b' }]);
    const client = await connect({ exportName: 'g/b' });
    const [status] = server.connections();
    expect(status).toMatchObject({ exportName: 'g/b', isSecure: false });
    expect(status?.peer).toMatch(/^127\.0\.0\.1:\d+$/);
    await client.close();
    await eventually('it is gone', () => server.connections().length === 0);
  });
});

describe('a client that asks without waiting', () => {
  it('gets an answer to each option', async () => {
    const { handshake } = await serve();
    const client = await handshake();
    const options = 4_000;
    const asked = client.stream.write(
      Buffer.concat(Array.from({ length: options }, () => encodeOption(NBD_OPT_LIST))),
    );
    for (let index = 0; index < options; index++) {
      const replies = await client.replies(NBD_OPT_LIST);
      expect(replies.length).toBe(2);
    }
    await asked;
    await client.abort();
  });
});

describe('an export that cannot be opened', () => {
  it('says why', async () => {
    const { volume, connect } = await serve();
    const refused = new JnbdError('volume_abnormal', 'the volume waits for repair');
    volume.refusal = () => refused;
    await expect(connect()).rejects.toThrow(/refuses the export .*waits for repair/);
    volume.refusal = () => undefined;
    await expect(connect({ exportName: 'other' })).rejects.toMatchObject({
      code: 'export_not_found',
    });
    const client = await connect();
    await client.close();
  });
});

describe('stopping', () => {
  it('answers what is in flight, refuses what is new, and closes', async () => {
    const { server, connect, handshake, volume } = await serve([
      { durableMilliseconds: 150, syncMilliseconds: 5000 },
    ]);
    const client = await connect();
    const negotiating = await handshake();
    const flushed = client.write(0, Buffer.alloc(4096, 7), { fua: true });
    await eventually('the write arrives', () => volume.newest === 1);
    const stopped = server.stop(2_000);
    const late = client.request({ type: NBD_CMD_READ, length: 10 });
    expect((await late).errno).toBe(ESHUTDOWN);
    const [reply] = await negotiating.option(NBD_OPT_LIST);
    expect(reply?.type).toBe(NBD_REP_ERR_SHUTDOWN);
    await flushed;
    expect(volume.durable).toBe(1);
    await stopped;
    await expect(connect()).rejects.toMatchObject({ code: 'daemon_unreachable' });
    await eventually('the session is closed', () => volume.sessions.size === 0);
  });

  it('ends in time with a client that never gets its answer', async () => {
    const { server, connect, volume } = await serve([
      { durableMilliseconds: 60_000, syncMilliseconds: 60_000 },
    ]);
    const client = await connect();
    const flags = NBD_CMD_FLAG_FUA;
    const request = client.request({ type: NBD_CMD_WRITE, payload: Buffer.alloc(512), flags });
    await eventually('the write arrives', () => volume.newest === 1);
    const before = Date.now();
    await server.stop(300);
    expect(Date.now() - before).toBeLessThan(1_000);
    expect(await request).toMatchObject({ errno: 108 });
  });

  it('closes the clients of an export that goes away', async () => {
    const { connect, volume } = await serve();
    const client = await connect();
    await client.write(0, Buffer.alloc(1 * MiB, 1));
    volume.revoke();
    await expect(client.stream.read(1)).rejects.toBeInstanceOf(JnbdError);
    await eventually('the session is closed', () => volume.sessions.size === 0);
  });
});
