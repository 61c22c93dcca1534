import net from 'node:net';
import { NbdClient } from '../../src/nbd/client.ts';
import type { ListenAddress } from '../../src/platform/network.ts';
import { type FuzzCase, makeCase } from './fuzz-cases.ts';
import { FuzzRandom } from './fuzz-random.ts';
import { type FuzzTarget, type ProcessSample, sampleProcess } from './fuzz-target.ts';

export interface FuzzOptions {
  readonly cases: number;
  readonly seed: number;
  /** The first case; with `cases: 1` one is repeated alone. */
  readonly from?: number;
  readonly connections?: number;
  readonly progress?: (done: number, probe: ProbeReport) => void;
}

export interface ProbeReport {
  readonly probes: number;
  readonly slowestMilliseconds: number;
}

export interface FuzzReport extends ProbeReport {
  readonly cases: number;
  readonly kinds: Readonly<Record<string, number>>;
  /** After warming up, and at the end. */
  readonly before: ProcessSample;
  readonly after: ProcessSample;
}

/** What the second client may wait for anything. */
export const probeMillisecondsMax = 2_000;
/** How much more memory than after warming up is taken for noise of a garbage collector. */
const residentBytesNoise = 48 * 1024 * 1024;
const caseMillisecondsMax = 150;
const blockBytes = 4096;

const delay = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

/**
 * Attacks the target with `cases` connections while a second client writes, reads and checks its own
 * volume. Throws when the target ends, the second client waits too long or reads something else than
 * it wrote, or memory or descriptors grow.
 */
export async function fuzz(target: FuzzTarget, options: FuzzOptions): Promise<FuzzReport> {
  const { cases, seed, from = 0, connections = 24 } = options;
  const kinds: Record<string, number> = {};
  const probe = new Probe(target);
  const probing = probe.run();
  let next = from;
  let done = 0;
  const warmCases = Math.min(Math.max(1_000, Math.floor(cases / 5)), Math.floor(cases / 2));
  let before: ProcessSample | undefined;
  const attack = async (): Promise<void> => {
    while (next < from + cases && !probe.failure) {
      const index = next++;
      const random = FuzzRandom.forCase(seed, index);
      const fuzzCase = makeCase(random, target.attacked);
      kinds[fuzzCase.kind] = (kinds[fuzzCase.kind] ?? 0) + 1;
      // A Unix socket leaves nothing behind in the kernel; TCP has resets and half-closes of its own.
      const address = target.addresses[random.chance(5) ? 1 : 0];
      if (address) await runCase(address, fuzzCase);
      done += 1;
      if (done === warmCases) before = sampleProcess(target.pid);
      if (done % 1_000 === 0) options.progress?.(done, probe.report);
      if (!target.isRunning()) {
        throw new Error(`the server ended near case ${index} of seed ${seed}:\n${target.output()}`);
      }
    }
  };
  try {
    await Promise.all(Array.from({ length: connections }, attack));
  } finally {
    probe.stop();
    await probing;
  }
  const failure = probe.failure;
  if (failure) throw new Error(`seed ${seed}, near case ${next}: ${failure}\n${target.output()}`);
  before ??= sampleProcess(target.pid);
  const after = await settle(target, before);
  return { cases: done, kinds, before, after, ...probe.report };
}

/** Waits for the last connections to be gone; then what is held must be what was held before. */
async function settle(target: FuzzTarget, before: ProcessSample): Promise<ProcessSample> {
  let after = sampleProcess(target.pid);
  for (let tries = 0; tries < 50; tries++) {
    after = sampleProcess(target.pid);
    // `before` was taken with attackers connected.
    if (after.descriptors <= before.descriptors && tries > 20) break;
    await delay(100);
  }
  if (after.descriptors > before.descriptors) {
    throw new Error(`descriptors grew from ${before.descriptors} to ${after.descriptors}`);
  }
  if (after.residentBytes > before.residentBytes * 1.15 + residentBytesNoise) {
    const [was, is] = [before, after].map((each) => Math.round(each.residentBytes / 2 ** 20));
    throw new Error(`memory grew from ${was} to ${is} MiB`);
  }
  return after;
}

/** One connection. Whatever happens to it is fine; it must only be over. */
async function runCase(address: ListenAddress, fuzzCase: FuzzCase): Promise<void> {
  const socket =
    address.kind === 'unix'
      ? net.connect({ path: address.path, allowHalfOpen: true })
      : net.connect({ host: address.host, port: address.port, allowHalfOpen: true });
  socket.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  const cut = setTimeout(() => socket.destroy(), caseMillisecondsMax);
  let isClosed = false;
  void closed.then(() => (isClosed = true));
  if (fuzzCase.readsReplies) socket.resume();
  socket.once('end', () => socket.destroy());
  for (const [index, piece] of fuzzCase.pieces.entries()) {
    const pause = fuzzCase.pauses[index] ?? 0;
    if (pause > 0) await delay(pause);
    if (isClosed) break;
    await new Promise<void>((resolve) => {
      socket.write(piece, () => resolve());
      void closed.then(resolve);
    });
  }
  if (fuzzCase.ending === 'close') socket.destroy();
  else if (fuzzCase.ending === 'half close') socket.end();
  else if (fuzzCase.ending === 'reset') {
    if (address.kind === 'tcp') socket.resetAndDestroy();
    else socket.destroy();
  }
  await closed;
  clearTimeout(cut);
}

/** The second client: connects anew, writes, reads back, and counts the time of each round. */
class Probe {
  readonly #target: FuzzTarget;
  readonly #model: Buffer;
  #probes = 0;
  #slowest = 0;
  #isStopped = false;
  failure: string | undefined;

  constructor(target: FuzzTarget) {
    this.#target = target;
    this.#model = Buffer.alloc(target.volumeBytes);
  }

  get report(): ProbeReport {
    return { probes: this.#probes, slowestMilliseconds: this.#slowest };
  }

  stop(): void {
    this.#isStopped = true;
  }

  async run(): Promise<void> {
    while (!this.#isStopped && !this.failure) {
      const before = performance.now();
      const late = new Promise<string>((resolve) => {
        const text = `the second client was not served within ${probeMillisecondsMax} ms`;
        setTimeout(() => resolve(text), probeMillisecondsMax).unref();
      });
      const round = this.#round().then(
        () => undefined,
        (error: unknown) => String(error),
      );
      this.failure = await Promise.race([round, late]);
      this.#slowest = Math.max(this.#slowest, performance.now() - before);
      this.#probes += 1;
      await delay(20);
    }
  }

  async #round(): Promise<void> {
    const address = this.#target.addresses[this.#probes % this.#target.addresses.length];
    if (!address) throw new Error('no address');
    const replyForm = (['simple', 'structured', 'extended'] as const)[this.#probes % 3] ?? 'simple';
    const client = await NbdClient.connect(address, { exportName: this.#target.quiet, replyForm });
    const model = this.#model;
    const blocks = model.length / blockBytes - 64;
    const offset = (this.#probes % blocks) * blockBytes;
    const length = (1 + (this.#probes % 64)) * blockBytes;
    model.fill(this.#probes % 251, offset, offset + length);
    await client.write(offset, model.subarray(offset, offset + length), {
      fua: this.#probes % 4 === 0,
    });
    const from = Math.max(0, offset - 16 * blockBytes);
    const found = await client.read(from, offset + length - from);
    if (!found.equals(model.subarray(from, offset + length))) {
      throw new Error(`the second client reads something else than it wrote at ${from}`);
    }
    await client.close();
  }
}
