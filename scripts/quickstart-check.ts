/**
 * The load of `scripts/quickstart --check`, and the proof that nothing of it was lost.
 *
 *   fill   URI IMAGE                  writes the image to the beginning of the volume and flushes
 *   write  URI RECORD START QEMU-IO [SECONDS]
 *                                     writes blocks from byte START on until the connection breaks, or
 *                                     for so long, and records what was sent and what was acknowledged;
 *                                     prints a line once it is under way. QEMU-IO may be empty
 *   verify URI|FILE RECORD IMAGE [LEAST]
 *                                     compares the volume, or a copy of it, with both; with LEAST, an
 *                                     earlier record, what was acknowledged after that may be missing
 *   same   URI URI...                 compares volumes byte for byte
 *
 * Exit: 0 done, or all is there; 1 otherwise.
 */
import { spawn } from 'node:child_process';
import { existsSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { NbdClient } from '../src/nbd/client.ts';
import { isNbdUri } from '../src/nbd/uri.ts';

const blockBytes = 4096;
const chunkBytes = 1024 * 1024;
const qemuProcesses = 8;
const connections = 4;
const depth = 16;
/** Each block is written anew so often at most: its versions have different bytes up to there. */
const versionMax = 250;
const acknowledgedBeforeKill = 200;

/** Of each block from `start` on, the last version that was acknowledged and the last that was sent. */
interface WriteRecord {
  readonly start: number;
  readonly acknowledged: number[];
  readonly sent: number[];
}

/** What can write a block and make what was written durable; both resolve with the server's answer. */
interface Writer {
  write(offset: number, value: number, fua: boolean): Promise<void>;
  flush(): Promise<void>;
  close(): void;
}

/** A block that was never written is zero, and no version of any block is. */
function valueOf(block: number, version: number): number {
  return version === 0 ? 0 : 1 + ((block * 31 + version * 7) % 255);
}

function readRecord(path: string): WriteRecord {
  return JSON.parse(readFileSync(path, 'utf8')) as WriteRecord;
}

/** A process of qemu-io that is told one command after the other. */
class QemuIo implements Writer {
  static readonly #prompt = 'qemu-io> ';
  readonly #commands: NodeJS.WritableStream;
  #said = '';
  #answered: (answer: string) => void = () => undefined;

  constructor(program: string, uri: string) {
    const child = spawn(program, ['-f', 'raw', uri], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#commands = child.stdin;
    child.stdin.on('error', () => undefined);
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#said += text;
      const end = this.#said.lastIndexOf(QemuIo.#prompt);
      if (end < 0) return;
      const answer = this.#said.slice(0, end);
      this.#said = this.#said.slice(end + QemuIo.#prompt.length);
      this.#answered(answer);
    });
    child.on('error', (error) => this.#answered(error.message));
    child.on('close', () => this.#answered('qemu-io ended'));
  }

  /** Resolves when it asks for the first command. */
  async ready(): Promise<void> {
    await this.#answer();
  }

  #answer(): Promise<string> {
    return new Promise((resolve) => {
      this.#answered = resolve;
    });
  }

  #run(command: string): Promise<string> {
    const answer = this.#answer();
    this.#commands.write(`${command}\n`);
    return answer;
  }

  async write(offset: number, value: number, fua: boolean): Promise<void> {
    const command = `write ${fua ? '-f ' : ''}-P ${value} ${offset} ${blockBytes}`;
    const answer = await this.#run(command);
    if (!answer.includes(`wrote ${blockBytes}/${blockBytes} bytes at offset ${offset}`)) {
      throw new Error(answer);
    }
  }

  async flush(): Promise<void> {
    const answer = await this.#run('flush');
    if (answer.trim() !== '') throw new Error(answer);
  }

  close(): void {
    this.#commands.end();
  }
}

async function openWriters(uri: string, qemuIo: string | undefined): Promise<Writer[]> {
  if (qemuIo !== undefined) {
    const processes = Array.from({ length: qemuProcesses }, () => new QemuIo(qemuIo, uri));
    await Promise.all(processes.map((each) => each.ready()));
    return processes;
  }
  const clients = await Promise.all(
    Array.from({ length: connections }, () => NbdClient.connectUri(uri)),
  );
  return Array.from({ length: connections * depth }, (_, at) => {
    const client = clients[at % connections] as NbdClient;
    return {
      write: (offset, value, fua) => client.write(offset, Buffer.alloc(blockBytes, value), { fua }),
      flush: () => client.flush(),
      close: () => client.destroy(),
    };
  });
}

async function fill(uri: string, image: string): Promise<void> {
  const client = await NbdClient.connectUri(uri);
  const bytes = readFileSync(image);
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    await client.write(at, bytes.subarray(at, at + chunkBytes));
  }
  await client.flush();
  await client.close();
}

async function sizeOf(uri: string): Promise<number> {
  const client = await NbdClient.connectUri(uri);
  await client.close();
  return client.sizeBytes;
}

async function write(
  uri: string,
  recordPath: string,
  start: number,
  qemuIo: string | undefined,
  seconds: number | undefined,
): Promise<void> {
  const end = performance.now() + (seconds ?? Number.POSITIVE_INFINITY) * 1000;
  const blocks = (await sizeOf(uri)) / blockBytes - start / blockBytes;
  const record = existsSync(recordPath)
    ? readRecord(recordPath)
    : { start, acknowledged: Array<number>(blocks).fill(0), sent: Array<number>(blocks).fill(0) };
  const { acknowledged, sent } = record;
  const writers = await openWriters(uri, qemuIo);
  let count = 0;
  let inFlight = 0;
  /** Each writer has blocks of its own: one write of a block is under way at a time. */
  const writeUntilLost = async (writer: Writer, own: number): Promise<void> => {
    const share = Math.floor(blocks / writers.length);
    for (let turn = 0; performance.now() < end; turn += 1) {
      const block = own + writers.length * Math.floor(Math.random() * share);
      const version = (sent[block] ?? 0) + 1;
      if (version > versionMax) continue;
      sent[block] = version;
      inFlight += 1;
      try {
        await writer.write(start + block * blockBytes, valueOf(block, version), turn % 8 === 7);
        acknowledged[block] = version;
        count += 1;
        inFlight -= 1;
        if (turn % 32 === 31) await writer.flush();
      } catch {
        return;
      }
      if (count === acknowledgedBeforeKill) console.log('under way');
    }
  };
  await Promise.all(writers.map(writeUntilLost));
  if (seconds !== undefined) {
    if (inFlight > 0) throw new Error('the connection was lost');
    await Promise.all(writers.map((writer) => writer.flush()));
  }
  for (const writer of writers) writer.close();
  writeFileSync(recordPath, JSON.stringify(record));
  if (count < acknowledgedBeforeKill) {
    throw new Error(`only ${count} writes were acknowledged before the connection was lost`);
  }
  console.log(`${count} writes acknowledged, ${inFlight} in flight`);
}

/** All of the volume, or of the copy of it. */
async function* contents(source: string): AsyncGenerator<[at: number, bytes: Buffer]> {
  if (isNbdUri(source)) {
    const client = await NbdClient.connectUri(source);
    for (let at = 0; at < client.sizeBytes; at += chunkBytes) {
      yield [at, await client.read(at, Math.min(chunkBytes, client.sizeBytes - at))];
    }
    await client.close();
    return;
  }
  const file = openSync(source, 'r');
  for (let at = 0; ; ) {
    const bytes = Buffer.alloc(chunkBytes);
    const read = readSync(file, bytes, 0, chunkBytes, at);
    if (read === 0) return;
    yield [at, bytes.subarray(0, read)];
    at += read;
  }
}

/**
 * A block holds the version that was acknowledged last, or one that was sent after it. What is found is
 * recorded: from now on it must stay.
 */
async function verify(
  source: string,
  recordPath: string,
  imagePath: string,
  leastPath: string | undefined,
): Promise<void> {
  const record = readRecord(recordPath);
  const known = leastPath === undefined ? record : readRecord(leastPath);
  const image = readFileSync(imagePath);
  const losses: string[] = [];
  let blocks = 0;
  const checkBlock = (block: number, bytes: Buffer): void => {
    const least = known.acknowledged[block] ?? 0;
    const most = record.sent[block] ?? 0;
    const value = bytes[0] ?? 0;
    for (let version = least; version <= most; version += 1) {
      if (value !== valueOf(block, version) || !bytes.every((byte) => byte === value)) continue;
      record.acknowledged[block] = version;
      record.sent[block] = version;
      return;
    }
    losses.push(
      `at byte ${record.start + block * blockBytes}: version ${least} of this block was acknowledged` +
        `${most > least ? ` and version ${most} was sent` : ''}, something else is there`,
    );
  };
  for await (const [at, bytes] of contents(source)) {
    for (let within = 0; within < bytes.length; within += blockBytes) {
      const offset = at + within;
      const found = bytes.subarray(within, within + blockBytes);
      blocks += 1;
      if (offset >= record.start) checkBlock((offset - record.start) / blockBytes, found);
      else if (offset < image.length && !found.equals(image.subarray(offset, offset + blockBytes)))
        losses.push(`at byte ${offset}: the image that was copied in and flushed is not there`);
    }
  }
  if (blocks !== record.start / blockBytes + record.sent.length) {
    throw new Error(`${blocks} blocks were read, which is not all of the volume`);
  }
  if (losses.length > 0) {
    const shown = losses.slice(0, 5).join('\n  ');
    throw new Error(`acknowledged data is lost in ${losses.length} blocks:\n  ${shown}`);
  }
  writeFileSync(recordPath, JSON.stringify(record));
}

async function same(uris: readonly string[]): Promise<void> {
  const clients = await Promise.all(uris.map((uri) => NbdClient.connectUri(uri)));
  const sizeBytes = clients[0]?.sizeBytes ?? 0;
  if (clients.some((client) => client.sizeBytes !== sizeBytes)) {
    throw new Error(`sizes differ: ${clients.map((client) => client.sizeBytes).join(', ')}`);
  }
  for (let at = 0; at < sizeBytes; at += chunkBytes) {
    const length = Math.min(chunkBytes, sizeBytes - at);
    const [bytes, ...others] = await Promise.all(clients.map((client) => client.read(at, length)));
    const other = others.findIndex((each) => !bytes?.equals(each));
    if (other >= 0) {
      throw new Error(`${uris[other + 1]} differs from ${uris[0]} in the 1 MiB at byte ${at}`);
    }
  }
  for (const client of clients) await client.close();
}

const [mode, ...words] = process.argv.slice(2);
const [first = '', second = '', third = '', fourth, fifth] = words;
try {
  if (mode === 'fill') await fill(first, second);
  else if (mode === 'write') {
    const seconds = fifth === undefined ? undefined : Number(fifth);
    await write(first, second, Number(third), fourth || undefined, seconds);
  } else if (mode === 'verify') await verify(first, second, third, fourth);
  else if (mode === 'same') await same(words);
  else throw new Error('usage: quickstart-check.ts fill|write|verify|same ...');
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
