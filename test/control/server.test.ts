import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:http';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { status as statusSchema } from '../../src/control/schema-status.ts';
import { hostOperations } from '../../src/group/apply/volume-metrics.ts';
import { NbdClient } from '../../src/nbd/client.ts';
import { build } from '../support/built-program.ts';
import { until } from '../support/children.ts';
import { Daemon } from '../support/daemon.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';
import { program } from '../support/tools.ts';

let directory: TemporaryDirectory;
let daemon: Daemon;
let startedMilliseconds = 0;
const writes = 20;
const writeBytes = 8192;

beforeAll(async () => {
  await build();
  directory = temporaryDirectory('control');
  startedMilliseconds = performance.now();
  daemon = await Daemon.start({ dataDirectory: join(directory.path, 'data') });
  await daemon.client('group', 'create', 'g', '--journal-size', '64MiB');
  await daemon.client('volume', 'create', 'g/v', '--size', '8MiB');
  const client = await connect();
  for (let i = 0; i < writes; i += 1) await client.write(i * 10_000, Buffer.alloc(writeBytes, i));
  await client.flush();
  await client.read(0, 512);
  await client.close();
}, 120_000);

afterAll(async () => {
  await daemon?.kill();
  directory?.remove();
});

function connect(): Promise<NbdClient> {
  return NbdClient.connect(
    { kind: 'tcp', host: '127.0.0.1', port: daemon.port },
    { exportName: 'g/v' },
  );
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

function ask(
  where: { readonly port: number; readonly host: string } | { readonly socketPath: string },
  method: string,
  path: string,
  headers: Record<string, string> = {},
  content = '',
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const length = content === '' ? {} : { 'content-length': String(Buffer.byteLength(content)) };
    const asked = request({
      ...where,
      method,
      path,
      headers: { ...length, ...headers },
      agent: false,
    });
    asked.once('error', reject);
    asked.once('response', (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.once('end', () => {
        const type = response.headers['content-type'] ?? '';
        resolve({ status: response.statusCode ?? 0, type, body });
      });
    });
    asked.end(content);
  });
}

const tcp = () => ({ host: '127.0.0.1', port: daemon.listenPort });
const socket = () => ({ socketPath: join(daemon.dataDirectory, 'control.sock') });

describe('the TCP port', () => {
  it('answers what is asked of a daemon that is well', async () => {
    expect(await daemon.get('/healthz')).toEqual({ status: 200, body: '{"alive":true}' });
    expect(await daemon.get('/readyz')).toEqual({
      status: 200,
      body: '{"ready":true,"groups":[{"name":"g","state":"normal"}]}',
    });
    const status = await daemon.get('/status');
    expect(statusSchema.parse(JSON.parse(status.body)).groups[0]?.name).toBe('g');
  });

  it.each(['POST', 'PUT', 'DELETE', 'PATCH'])('does nothing on %s', async (method) => {
    for (const path of ['/verbs/group-delete', '/status', '/groups/g']) {
      const headers = { 'content-type': 'application/json' };
      const body = '{"group":"g","force":true}';
      const answer = await ask(tcp(), method, path, headers, body);
      expect(answer).toMatchObject({ status: 404, type: 'application/problem+json' });
    }
    expect(statusSchema.parse(await daemon.client('status')).groups).toHaveLength(1);
  });

  it.each(['evil.example', 'evil.example:80', '127.0.0.1.evil.example', '[::2]:1', '10.0.0.1'])(
    'is not there for a page that calls it %j',
    async (host) => {
      for (const path of ['/status', '/metrics', '/healthz', '/verbs/x']) {
        const answer = await ask(tcp(), 'GET', path, { host });
        expect(answer).toMatchObject({ status: 403, type: 'application/problem+json' });
        expect(JSON.parse(answer.body)).toMatchObject({
          type: 'urn:jnbd:error:address_not_allowed',
          status: 403,
          code: 'address_not_allowed',
        });
      }
    },
  );

  it('is not there for one that gives no name', async () => {
    const socketToPort = connectTcp(daemon.listenPort, '127.0.0.1');
    let text = '';
    socketToPort.setEncoding('utf8').on('data', (part: string) => (text += part));
    socketToPort.write('GET /status HTTP/1.0\r\n\r\n');
    await once(socketToPort, 'close');
    expect(text).toMatch(/^HTTP\/1\.1 40[03] /);
    expect(text).not.toContain('formatVersion');
  });

  it.each(['localhost', 'LOCALHOST:1', '127.0.0.1', '127.0.0.1:99', '[::1]', '[::1]:10810'])(
    'is there by the name %s',
    async (host) => {
      expect(await ask(tcp(), 'GET', '/healthz', { host })).toMatchObject({ status: 200 });
    },
  );
});

describe('the socket in the data directory', () => {
  it('reads, and changes by what the schema says', async () => {
    expect(await ask(socket(), 'GET', '/healthz')).toMatchObject({ status: 200 });
    const answer = await ask(
      socket(),
      'POST',
      '/verbs/volume-configure',
      {},
      '{"volume":"g/v","maxHosts":3}',
    );
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.body)).toMatchObject({ result: 'done', volume: { maxHosts: 3 } });
  });

  it.each([
    ['/verbs/volume-configure', '{', 400, 'argument_invalid', /JSON/],
    ['/verbs/volume-configure', '[]', 400, 'argument_invalid', /volume configure/],
    ['/verbs/volume-configure', '{"volume":"g/v","colour":1}', 400, 'argument_invalid', /colour/],
    ['/verbs/volume-configure', '{"volume":7}', 400, 'argument_invalid', /GROUP\/VOLUME/],
    ['/verbs/volume-create', '{"volume":"g/x","size":-5}', 400, 'argument_invalid', /--size/],
    ['/verbs/frobnicate', '{}', 400, 'argument_invalid', /frobnicate/],
    ['/verbs/serve', '{}', 400, 'argument_invalid', /serve/],
    ['/verbs/__proto__', '{}', 400, 'argument_invalid', /__proto__/],
    ['/verbs/volume-resize', '{"volume":"g/x","size":"1MiB"}', 404, 'volume_not_found', /g\/x/],
    ['/verbs/group-delete', '{"group":"g"}', 409, 'group_not_empty', /--force/],
    ['/frobnicate', '{}', 404, 'argument_invalid', /frobnicate/],
  ])('%s with %s is a problem', async (path, content, status, code, text) => {
    const answer = await ask(socket(), 'POST', path, {}, content);
    expect(answer).toMatchObject({ status, type: 'application/problem+json' });
    const problem = JSON.parse(answer.body) as { detail: string };
    expect(problem).toMatchObject({ type: `urn:jnbd:error:${code}`, status, code });
    expect(problem.detail).toMatch(text);
  });

  it('takes no endless request', async () => {
    const content = `{"volume":"${'x'.repeat(2 * 1024 * 1024)}"}`;
    const answer = await ask(socket(), 'POST', '/verbs/volume-delete', {}, content);
    expect(answer.status).toBe(400);
  });
});

interface Sample {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly value: number;
}

/** Throws where a line is not what the text format allows. */
function parseMetrics(text: string): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('# HELP ') || line.startsWith('# TYPE ')) continue;
    const match = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!match) throw new Error(`not a sample: ${line}`);
    const labels = [...(match[2] ?? '').matchAll(/([a-z]+)="([^"]*)"/g)];
    samples.push({
      name: match[1] ?? '',
      labels: new Map(labels.map(([, key, value]) => [key ?? '', value ?? ''])),
      value: Number(match[3]),
    });
  }
  return samples;
}

describe('/metrics', () => {
  it('counts what hosts did to each volume', async () => {
    const of = (operation: string) => [`operation="${operation}"`, 'group="g"', 'volume="v"'];
    expect(await daemon.metric('jnbd_volume_operations_total', ...of('write'))).toBe(writes);
    expect(await daemon.metric('jnbd_volume_bytes_total', ...of('write'))).toBe(
      writes * writeBytes,
    );
    expect(await daemon.metric('jnbd_volume_operations_total', ...of('read'))).toBe(1);
    expect(await daemon.metric('jnbd_volume_errors_total')).toBe(0);
    const client = await connect();
    await expect(client.read(2 ** 40, 512)).rejects.toThrow(/outside|beyond|past|end/);
    await client.close();
    expect(await daemon.metric('jnbd_volume_errors_total', ...of('read'))).toBe(1);
  });

  it('has latencies as cumulative histograms in seconds', async () => {
    const samples = parseMetrics((await daemon.get('/metrics')).body);
    for (const operation of hostOperations) {
      const own = samples.filter(({ labels }) => labels.get('operation') === operation);
      const buckets = own.filter(({ name }) => name === 'jnbd_volume_latency_seconds_bucket');
      const count = own.find(({ name }) => name === 'jnbd_volume_latency_seconds_count');
      const operations = own.find(({ name }) => name === 'jnbd_volume_operations_total');
      // One that never happened has no histogram.
      expect(count?.value ?? 0).toBe(operations?.value);
      if (!count) continue;
      const bounds = buckets.map(({ labels }) =>
        Number(labels.get('le')?.replace('+Inf', 'Infinity')),
      );
      expect(bounds).toEqual([...bounds].sort((a, b) => a - b));
      expect(bounds.at(-1)).toBe(Number.POSITIVE_INFINITY);
      const values = buckets.map(({ value }) => value);
      expect(values).toEqual([...values].sort((a, b) => a - b));
      expect(values.at(-1)).toBe(count.value);
      const sum = own.find(({ name }) => name === 'jnbd_volume_latency_seconds_sum')?.value ?? -1;
      expect(sum).toBeGreaterThan(0);
      expect(sum / count.value).toBeLessThan(5);
    }
  });

  it('shows the journal, the lags and the process', async () => {
    let values = new Map<string, number>();
    const value = (name: string): number => {
      const found = values.get(name);
      if (found === undefined) throw new Error(`no ${name}`);
      return found;
    };
    // Points of the checksums are numbered a while after the last write, and a connection ends after its client went.
    const atRest = ['jnbd_durable_lag_updates', 'jnbd_journal_unsynced_bytes', 'jnbd_connections'];
    const busy = () => atRest.filter((name) => value(name) !== 0);
    await until(
      () => `${busy().join(' and ')} are not 0`,
      30,
      async () => {
        const samples = parseMetrics((await daemon.get('/metrics')).body);
        values = new Map(samples.map((sample) => [sample.name, sample.value]));
        return busy().length === 0;
      },
    );
    expect(value('jnbd_journal_capacity_bytes')).toBe(64 * 1024 * 1024);
    expect(value('jnbd_journal_used_bytes')).toBeGreaterThan(0);
    expect(value('jnbd_durable_lag_seconds')).toBe(0);
    for (const name of ['updates', 'bytes', 'seconds']) {
      expect(value(`jnbd_apply_lag_${name}`)).toBeGreaterThanOrEqual(0);
    }
    const newest = value('jnbd_group_newest_update_number');
    expect(newest).toBeGreaterThan(writes);
    expect(value('jnbd_group_durable_update_number')).toBe(newest);
    expect(value('jnbd_group_normal')).toBe(1);
    expect(value('jnbd_resident_memory_bytes')).toBeGreaterThan(20 * 1024 * 1024);
    expect(value('jnbd_memory_budget_bytes')).toBe(192 * 1024 * 1024);
    // It was not later than it has been there: in another unit it would be.
    expect(value('jnbd_event_loop_delay_max_seconds')).toBeLessThan(
      (performance.now() - startedMilliseconds) / 1000,
    );
    expect(value('jnbd_event_loop_delay_seconds_count')).toBeGreaterThan(0);
  });

  const promtool = program('promtool');
  it.skipIf(promtool === undefined)('has names that promtool accepts', async () => {
    const { body } = await daemon.get('/metrics');
    execFileSync(promtool ?? '', ['check', 'metrics'], { input: body });
  });
});
