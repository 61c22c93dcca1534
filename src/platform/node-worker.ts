/**
 * Worker ports over `worker_threads`. A worker's module takes its end of the port with
 * `nodeWorkerSide()`; whoever wants the worker starts it with `spawnNodeWorker`.
 */
import { parentPort, Worker, type WorkerOptions } from 'node:worker_threads';
import { must } from './assert.ts';
import { keepYoungGenerationSmall } from './collection.ts';
import type { WorkerPort } from './worker-port.ts';

/**
 * Starts the module `entry`, a URL made as `new URL('./name.ts', import.meta.url)`: compiled, its
 * `.js` beside it runs. `failed` is called once if the worker ends in any other way than by `close`;
 * what it was doing may be left half done.
 */
export function spawnNodeWorker<Sent, Received>(
  entry: URL,
  name: string,
  failed: (error: Error) => void,
): WorkerPort<Sent, Received> {
  const worker = startThread(entry, { name });
  let isOver = false;
  function end(error: Error): void {
    if (isOver) return;
    isOver = true;
    failed(error);
  }
  worker.on('error', (error) => {
    end(error instanceof Error ? error : new Error(`worker ${name} threw ${String(error)}`));
  });
  worker.on('messageerror', end);
  worker.on('exit', (status) => end(new Error(`worker ${name} ended with status ${status}`)));
  return {
    post(message, givenAway) {
      worker.postMessage(message, givenAway);
    },
    receive(handler) {
      worker.on('message', (message: Received) => {
        if (!isOver) handler(message);
      });
    },
    soon(run) {
      setImmediate(() => {
        if (!isOver) run();
      });
    },
    async close() {
      isOver = true;
      await worker.terminate();
    },
  };
}

/** The worker's own end. Its thread lives until the other end is closed, or it closes this one. */
export function nodeWorkerSide<Sent, Received>(): WorkerPort<Sent, Received> {
  const port = must(parentPort, 'a worker module runs in a worker');
  keepYoungGenerationSmall();
  return {
    post(message, givenAway) {
      port.postMessage(message, givenAway);
    },
    receive(handler) {
      port.on('message', handler);
    },
    soon: setImmediate,
    close() {
      port.close();
      return Promise.resolve();
    },
  };
}

function startThread(entry: URL, options: WorkerOptions): Worker {
  if (!import.meta.url.endsWith('.ts')) {
    return new Worker(new URL(entry.href.replace(/\.ts$/, '.js')), options);
  }
  if (Reflect.get(process.features, 'typescript')) return new Worker(entry, options);
  // From source, where Node does not strip types: a thread takes no loader from its options.
  const loader = JSON.stringify(import.meta.resolve('tsx/esm/api'));
  const module = JSON.stringify(entry.href);
  const code = `import(${loader}).then(({ register }) => { register(); return import(${module}); });`;
  return new Worker(code, { ...options, eval: true });
}
