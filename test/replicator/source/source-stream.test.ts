import { describe, expect, test } from 'vitest';
import { KiB } from '../../../src/platform/limits.ts';
import { FrameDecoder } from '../../../src/replicator/protocol/frame-decoder.ts';
import { frameHeaderBytes } from '../../../src/replicator/protocol/frames.ts';
import {
  acknowledgementFrameBytes,
  encodeAcknowledgement,
  encodeMembersText,
  type StreamWatermarks,
} from '../../../src/replicator/protocol/stream-frames.ts';
import {
  encodeCaller,
  encodeJournalRead,
  type JournalRead,
  paths,
} from '../../../src/replicator/protocol/wire.ts';
import { readProblem } from '../../../src/replicator/protocol/wire-json.ts';
import { Collector } from '../protocol/frame-collector.ts';
import { type Followed, followed } from './followed-system.ts';
import type { MemoryAnswer } from './memory-transport.ts';

function acknowledgement(serial: number, received: number, applied = received): Buffer {
  const bytes = Buffer.alloc(frameHeaderBytes + acknowledgementFrameBytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  encodeAcknowledgement(view, 0, { serial, received, applied });
  return bytes;
}

/** A stream as its follower has it. */
class TestStream {
  readonly answer: MemoryAnswer;
  readonly collector = new Collector();
  readonly watermarks: StreamWatermarks[] = [];
  readonly #all: Followed;
  readonly #decoder: FrameDecoder;
  #say: (bytes: Uint8Array) => void = () => undefined;

  constructor(all: Followed, options: Partial<JournalRead> = {}, holds = false, systemId = 7) {
    this.#all = all;
    const { groupId } = all.machine.group().catalog;
    const read: JournalRead = {
      position: all.reader.position,
      received: all.reader.number,
      applied: 0,
      batchBytes: 64 * KiB,
      waitMilliseconds: 0,
      isRetry: false,
      copied: [],
      ranges: [],
      members: [],
      ...options,
    };
    this.answer = all.source.transport.ask(
      {
        method: 'POST',
        path: paths.stream(groupId),
        headers: { ...encodeCaller({ systemId, name: 'reader' }), ...encodeJournalRead(read) },
        stream: {
          receive: (to) => {
            this.#say = to;
          },
        },
      },
      holds,
    );
    this.#decoder = new FrameDecoder(this.collector, {
      watermarks: (told) => this.watermarks.push(told),
      members: () => undefined,
    });
  }

  say(bytes: Uint8Array): void {
    this.#say(bytes);
  }

  /** The last number that came. */
  get through(): number {
    if (this.answer.status === 200) this.#decoder.decode(this.answer.news());
    const frame = this.collector.frames.findLast(({ kind }) => kind === 'records');
    return frame?.kind === 'records' ? frame.header.last : this.#all.reader.number;
  }

  get isWhole(): boolean {
    return this.through >= 0 && this.#decoder.isWhole;
  }

  get code(): string {
    return readProblem(this.answer.status, this.answer.body).error.code;
  }
}

function received({ machine }: Followed): number | undefined {
  return machine.group().followers.find(7)?.received;
}

/** With something to send. */
async function streamed(seed: string): Promise<{ all: Followed; stream: TestStream }> {
  const all = await followed(seed);
  all.machine.group().followers.setSynchronous(7, true);
  const { setting, machine } = all;
  await setting.writeMuch(20, 4 * KiB);
  await setting.flush();
  await machine.pass(10);
  const stream = new TestStream(all);
  await machine.until(() => stream.through === machine.group().watermarks.durable);
  return { all, stream };
}

describe('a stream of the source', () => {
  test('brings every durable record once and in order, and nothing else', async () => {
    const { all, stream } = await streamed('stream');
    const { setting, machine } = all;
    for (let round = 0; round < 60; round += 1) {
      await setting.writeMuch(machine.random.int(20), machine.random.pick([512, 4096, 100 * KiB]));
      expect(stream.through).toBeLessThanOrEqual(machine.group().watermarks.durable);
      if (round % 3 === 0) await machine.pass(machine.random.int(30));
      if (round % 10 === 0) stream.say(acknowledgement(round + 1, stream.through));
    }
    await setting.flush();
    await machine.until(() => stream.through === machine.group().watermarks.durable);
    let last = 0;
    for (const frame of stream.collector.frames) {
      if (frame.kind !== 'records') continue;
      expect(frame.header.first).toBe(last + 1);
      last = frame.header.last;
    }
    expect(stream.watermarks.at(-1)?.timeoutMilliseconds).toBe(5000);
  });

  test('tells what the follower says to the group at once, and that it was heard', async () => {
    const { all, stream } = await streamed('acknowledge');
    const { machine } = all;
    const { through } = stream;
    stream.say(acknowledgement(900, through, 1));
    await machine.until(() => received(all) === through);
    await machine.until(() => machine.group().catalog.protection?.state === 'protected');
    let serial = 900;
    for (let round = 0; round < 20; round += 1) {
      serial += 1;
      stream.say(acknowledgement(serial, stream.through));
      await machine.pass(300);
    }
    await machine.until(() => stream.through > 0 && stream.watermarks.at(-1)?.heard === serial);
  });

  test('takes acknowledgements however they are cut, and of many the last', async () => {
    const { all, stream } = await streamed('cut');
    const { through } = stream;
    const several = Buffer.concat([
      acknowledgement(5, 1, 0),
      encodeMembersText({ members: '9=1=other', path: '' }),
      acknowledgement(6, 2),
      acknowledgement(7, through),
    ]);
    for (const byte of several) stream.say(Uint8Array.of(byte));
    await all.machine.until(() => received(all) === through);
    const { members } = all.machine.group().followers;
    await all.machine.until(() => members.list().some(({ name }) => name === 'other'));
  });

  test.each([
    ['bytes that are no frame', () => Buffer.alloc(64, 7)],
    ['a frame of records', () => Buffer.from('6a52463101000000ff000000', 'hex')],
    ['an endless frame of members', () => Buffer.from('6a52463106000000ffffffff', 'hex')],
    ['members that are none', () => encodeMembersText({ members: 'nobody', path: '' })],
    ['what was never sent', (through: number) => acknowledgement(1, through + 1)],
    ['more applied than received', () => acknowledgement(1, 1, 2)],
    ['less than before', () => Buffer.concat([acknowledgement(1, 3), acknowledgement(2, 2)])],
    ['a serial again', () => Buffer.concat([acknowledgement(4, 1), acknowledgement(4, 2)])],
  ])('is broken off by %s, and nothing of it counts', async (_, bytes) => {
    const { all, stream } = await streamed('hostile');
    stream.say(bytes(stream.through));
    await all.machine.until(() => stream.answer.isCut);
    expect(stream.isWhole).toBe(false);
    await all.machine.pass(100);
    expect(received(all)).toBe(0);
    const next = new TestStream(all);
    await all.machine.until(() => next.through === all.machine.group().watermarks.durable);
  });

  test('holds one batch for a follower that takes nothing, and breaks off when that says nothing', async () => {
    const all = await followed('slow');
    all.machine.group().followers.setSynchronous(7, true);
    const { setting, machine } = all;
    await machine.pass(10);
    const stream = new TestStream(all, {}, true);
    await machine.until(() => stream.answer.status === 200);
    for (let round = 0; round < 30; round += 1) await setting.writeMuch(10, 100 * KiB);
    await setting.flush();
    stream.answer.take();
    expect(stream.answer.body.length).toBeLessThanOrEqual(512 * KiB);
    stream.answer.holds = true;
    await machine.until(() => stream.answer.isCut, 20_000);
  });

  test('ends, for a read to be told why, where the follower is dropped or another one begins', async () => {
    const { all, stream } = await streamed('ends');
    const { machine } = all;
    const second = new TestStream(all);
    await machine.until(() => stream.isWhole && second.through === stream.through);
    machine.group().followers.drop(7);
    await machine.until(() => second.isWhole);
    const third = new TestStream(all);
    await machine.until(() => third.answer.isDone);
    expect(third.code).toBe('follower_not_found');
  });

  test('is refused to strangers, with contents, and without a body that lasts', async () => {
    const { all } = await streamed('refused');
    const refusal = async (stream: TestStream): Promise<string> => {
      await all.machine.until(() => stream.answer.isDone);
      return stream.code;
    };
    expect(await refusal(new TestStream(all, {}, false, 8))).toBe('follower_not_found');
    const copied = [{ volume: 1, address: 0 }];
    expect(await refusal(new TestStream(all, { copied }))).toBe('protocol_violated');
    const { groupId } = all.machine.group().catalog;
    const path = paths.stream(groupId);
    const headers = all.reader.headers();
    const answer = all.source.transport.ask({ method: 'POST', path, headers });
    await all.machine.until(() => answer.isDone);
    expect(readProblem(answer.status, answer.body).error.code).toBe('protocol_violated');
  });
});
