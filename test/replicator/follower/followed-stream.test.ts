import { expect, test } from 'vitest';
import { configureGroup } from '../../../src/group/system/group-settings.ts';
import { MiB } from '../../../src/platform/limits.ts';
import type { AnswerBody } from '../../../src/replicator/follower/answer-body.ts';
import { FollowedStream } from '../../../src/replicator/follower/followed-stream.ts';
import { FrameDecoder } from '../../../src/replicator/protocol/frame-decoder.ts';
import { encodeJournalAnswer, type JournalRead } from '../../../src/replicator/protocol/wire.ts';
import type { TransportClient } from '../../../src/replicator/transport/transport.ts';
import { SimulatedMachine } from '../../journal/simulated-system.ts';
import { serve } from '../../journal/volume-under-test.ts';

const timeoutMilliseconds = 3000;
const position = { generation: 0, incarnation: 0, number: 0 };
const asked: JournalRead = {
  position,
  received: 0,
  applied: 0,
  batchBytes: 64 * 1024,
  waitMilliseconds: 0,
  isRetry: false,
  copied: [],
  ranges: [],
  members: [],
};

/** What a follower says on a stream of a source that says so much of itself. */
async function said(takesChecksums: boolean) {
  const machine = new SimulatedMachine(`stream ${takesChecksums}`);
  await serve(machine, { sizeBytes: MiB });
  const found = { acknowledgements: 0, checksums: [] as string[] };
  const decoder = new FrameDecoder(undefined, {
    acknowledgement: () => (found.acknowledgements += 1),
    members: () => undefined,
    checksums: (text) => found.checksums.push(text),
  });
  const nothing = (): void => undefined;
  const client: TransportClient = {
    request: () => ({
      pause: nothing,
      resume: nothing,
      abort: nothing,
      write: (bytes, taken) => {
        decoder.decode(bytes);
        machine.clock.soon(taken);
      },
    }),
    connections: () => [],
    close: nothing,
  };
  const group = machine.group();
  const stream = new FollowedStream(
    {
      group,
      clock: machine.clock,
      client,
      caller: { systemId: 7, name: 'reader' },
      body: { begin: nothing } as unknown as AnswerBody,
    },
    asked,
    timeoutMilliseconds,
    { told: nothing, blocked: nothing, over: nothing, failed: nothing },
  );
  const { durable } = group.watermarks;
  const answer = {
    first: 1,
    through: position,
    watermarks: { released: 0, applied: 0, durable, newest: durable },
    usedBytes: 0,
    capacityBytes: 1,
    timeMilliseconds: 0,
    unsentBytes: 0,
    oldestUnsentMilliseconds: 0,
    path: [],
    members: [],
    takesChecksums,
  };
  stream.head(200, encodeJournalAnswer(answer));
  await machine.pass(timeoutMilliseconds);
  expect(found.checksums).toEqual([]);
  configureGroup(group, { checksums: false });
  await machine.pass(3 * timeoutMilliseconds);
  stream.close();
  return found;
}

test('what checksums showed is said once, and not to a source that does not know such frames', async () => {
  const { acknowledgements, checksums } = await said(true);
  expect(acknowledgements).toBeGreaterThan(5);
  expect(checksums).toEqual(['off']);
  const older = await said(false);
  expect(older.acknowledgements).toBeGreaterThan(5);
  expect(older.checksums).toEqual([]);
});
