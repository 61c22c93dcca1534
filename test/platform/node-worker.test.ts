import { afterEach, expect, test } from 'vitest';
import { spawnNodeWorker } from '../../src/platform/node-worker.ts';
import type { WorkerPort } from '../../src/platform/worker-port.ts';
import type { EchoRequest } from './echo-worker.ts';

const entry = new URL('./echo-worker.ts', import.meta.url);
const ports: WorkerPort<EchoRequest, string>[] = [];

function spawn(failed: (error: Error) => void): WorkerPort<EchoRequest, string> {
  const port = spawnNodeWorker<EchoRequest, string>(entry, 'echo', failed);
  ports.push(port);
  return port;
}

function unexpected(error: Error): void {
  throw error;
}

function failureOf(text: string): Promise<Error> {
  return new Promise((resolve) => {
    const port = spawn(resolve);
    port.receive(() => {});
    port.post({ text });
  });
}

afterEach(async () => {
  await Promise.all(ports.splice(0).map((port) => port.close()));
});

test('messages arrive in the order posted, never from within post', async () => {
  const port = spawn(unexpected);
  const texts = Array.from({ length: 1000 }, (_, number) => `message ${number}`);
  const answers: string[] = [];
  const all = new Promise<void>((resolve) => {
    port.receive((answer) => {
      answers.push(answer);
      if (answers.length === texts.length) resolve();
    });
  });
  for (const text of texts) port.post({ text });
  expect(answers).toEqual([]);
  await all;
  expect(answers).toEqual(texts);
});

test('shared memory is shared, not copied', async () => {
  const port = spawn(unexpected);
  const shared = new Int32Array(new SharedArrayBuffer(4));
  const answer = new Promise((resolve) => port.receive(resolve));
  port.post({ text: 'four', shared });
  await answer;
  expect(shared[0]).toBe(4);
});

test('a worker that throws is reported with its error', async () => {
  expect((await failureOf('throw')).message).toBe('told to throw');
});

test('a worker that ends by itself is reported', async () => {
  expect((await failureOf('close')).message).toContain('worker echo ended with status 0');
});

test('a worker whose module is missing is reported', async () => {
  const missing = new URL('./no-such-worker.ts', import.meta.url);
  const error = await new Promise<Error>((resolve) => {
    ports.push(spawnNodeWorker<EchoRequest, string>(missing, 'missing', resolve));
  });
  expect(error.message).toContain('no-such-worker');
});

test('closing is no failure, and nothing arrives after it', async () => {
  const port = spawn(unexpected);
  const answers: string[] = [];
  port.receive((answer) => answers.push(answer));
  port.post({ text: 'late' });
  await port.close();
  expect(answers).toEqual([]);
});
