import { describe, expect, test } from 'vitest';
import { must } from '../../../src/platform/assert.ts';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import { encodeCaller } from '../../../src/replicator/protocol/wire.ts';
import { readProblem } from '../../../src/replicator/protocol/wire-json.ts';
import { followed, restart } from './followed-system.ts';
import { TestReader } from './test-reader.ts';

describe('a read is refused', () => {
  test('to a system that did not register, or was dropped', async () => {
    const { machine, source } = await followed('stranger');
    const stranger = new TestReader(source, 8);
    expect(await stranger.read()).toMatchObject({ kind: 'problem', code: 'follower_not_found' });
    machine.group().followers.register(8, 'reader', 0);
    await machine.pass(2);
    expect(await stranger.read()).toMatchObject({ kind: 'records' });
    const waiting = stranger.ask({ waitMilliseconds: 10_000 });
    await machine.pass(5);
    machine.group().followers.drop(8);
    await machine.until(() => waiting.isDone, 1000);
    expect(stranger.take(waiting)).toMatchObject({ code: 'follower_not_found' });
  });

  test('to a system that gives the number of another one', async () => {
    const { machine, source } = await followed('foreign number');
    machine.group().followers.register(8, 'other', 0);
    await machine.pass(2);
    const reader = new TestReader(source, 8);
    expect(await reader.read()).toMatchObject({ kind: 'problem', code: 'follower_not_found' });
  });

  test('for a group that is not there, and one that is gone', async () => {
    const { machine, source, reader } = await followed('no group');
    const path = '/v1/groups/00000000000000000000000000000000/journal';
    const headers = reader.headers();
    const answer = source.transport.ask({ path, headers });
    await machine.until(() => answer.isDone);
    expect(readProblem(answer.status, answer.body).error.code).toBe('group_not_found');
    const waiting = reader.ask({ waitMilliseconds: 10_000 });
    await machine.until(() => waiting.isDone);
    reader.take(waiting);
    const last = reader.ask({ waitMilliseconds: 10_000 });
    await machine.pass(5);
    source.source.remove(machine.group(), false);
    await machine.until(() => last.isDone, 1000);
    expect(reader.take(last)).toMatchObject({ code: 'shutting_down' });
    expect(await reader.read()).toMatchObject({ code: 'group_not_found' });
  });

  test('for a group that is closed for a while, and none when it is back', async () => {
    const { machine, source, reader } = await followed('opening');
    source.source.remove(machine.group(), true);
    await machine.pass(5);
    expect(await reader.read()).toMatchObject({ code: 'group_opening' });
    source.source.add(machine.group());
    await machine.pass(5);
    expect(await reader.read()).not.toMatchObject({ code: 'group_opening' });
    source.source.remove(machine.group(), false);
    await machine.pass(5);
    expect(await reader.read()).toMatchObject({ code: 'group_not_found' });
  });

  test('where headers are missing or make no sense', async () => {
    const { machine, source, reader } = await followed('headers');
    const { path } = reader;
    const right = reader.headers();
    const wrong = [
      encodeCaller({ systemId: 7, name: 'reader' }),
      { ...right, 'jnbd-position': '1:2' },
      { ...right, 'jnbd-received': '99' },
      { ...right, 'jnbd-protocol': '2' },
    ];
    const codes: string[] = [];
    for (const headers of wrong) {
      const answer = source.transport.ask({ path, headers });
      await machine.until(() => answer.isDone);
      codes.push(readProblem(answer.status, answer.body).error.code);
    }
    expect(codes).toEqual([
      'protocol_violated',
      'protocol_violated',
      'protocol_violated',
      'protocol_unsupported',
    ]);
  });

  test('to certificates for other groups, and to nobody in particular', async () => {
    const { machine, source, reader } = await followed('rights');
    const { path } = reader;
    const certificate = { subject: 'b', fingerprint: '', raw: new Uint8Array(0) };
    const identity = (groups: readonly string[], system = 'reader') =>
      ({ kind: 'certificate', certificate, rights: { system, groups, access: 'read' } }) as const;
    const ask = async (who: ReturnType<typeof identity> | { readonly kind: 'anonymous' }) => {
      const answer = source.transport.ask({ path, headers: reader.headers(), identity: who });
      await machine.until(() => answer.isDone);
      return answer.status;
    };
    expect(await ask(identity(['h']))).toBe(403);
    expect(await ask(identity(['g'], 'another'))).toBe(403);
    expect(await ask({ kind: 'anonymous' })).toBe(403);
    expect(await ask(identity(['h', 'g']))).toBe(200);
  });

  test('to one that is suspended, and goes on when it is resumed', async () => {
    const { setting, machine, reader } = await followed('suspended');
    await setting.writeMuch(20);
    await setting.flush();
    machine.group().followers.suspend(7);
    await machine.pass(2);
    expect(await reader.read()).toMatchObject({ code: 'group_state' });
    machine.group().followers.resume(7);
    await machine.pass(2);
    await reader.drain();
    expect(reader.number).toBe(machine.group().watermarks.durable);
  });

  test('to one that was left behind, until it registers again', async () => {
    const { setting, machine, reader } = await followed('left');
    await setting.writeMuch(20);
    await setting.flush();
    machine.group().followers.leaveBehind(7);
    await machine.pass(2);
    expect(await reader.read()).toMatchObject({ code: 'position_released' });
    machine.group().followers.register(7, 'reader', 0);
    await machine.pass(2);
    expect(await reader.read()).toMatchObject({ kind: 'records' });
  });

  test('across a fork, whichever side it is on', async () => {
    const all = await followed('fork');
    const { setting, reader } = all;
    await setting.writeMuch(20);
    await setting.flush();
    await reader.drain();
    const { number, generation, incarnation } = reader.position;
    reader.position = { number, generation, incarnation: incarnation + 1 };
    expect(await reader.read()).toMatchObject({ code: 'diverged' });
    reader.position = { number, incarnation, generation: generation + 1 };
    expect(await reader.read()).toMatchObject({ code: 'generation_newer' });
    await restart(all, 'kill');
    await setting.writeMuch(20);
    await setting.flush();
    // It has what was lost here, and numbers that were given again.
    reader.position = { number: number + 5, generation, incarnation };
    expect(await reader.read()).toMatchObject({ code: 'diverged' });
    reader.position = { number, generation, incarnation };
    expect(await reader.read()).toMatchObject({ kind: 'records' });
  });

  test('as soon as the group is diverged', async () => {
    const { machine, reader } = await followed('diverged');
    await reader.drain();
    const answer = reader.ask({ waitMilliseconds: 10_000 });
    await machine.pass(5);
    const { changes, catalog } = machine.group();
    changes.replace({ ...catalog, role: 'diverged' });
    await machine.until(() => answer.isDone, 100);
    expect(reader.take(answer)).toMatchObject({ code: 'group_state' });
  });

  test('where the journal is damaged', async () => {
    const all = await followed('damaged');
    const { setting, machine, source, reader } = all;
    await setting.writeMuch(50);
    await setting.flush();
    await machine.pass(1000);
    source.end();
    machine.kill();
    const file = machine.machine
      .attach()
      .openSync('/data/groups/g/journal/000000.segment', 'read-write', 'segment');
    for (let at = 0; at < 1 * MiB; at += 4096) file.writeSync(new Uint8Array(64), 0, 64, 8192 + at);
    file.dataSyncSync();
    await machine.start();
    expect(machine.group().state).toBe('abnormal');
    await source.start();
    await machine.pass(2);
    expect(await reader.read()).toMatchObject({ code: 'group_state' });
  });
});

describe('a record that cannot be read', () => {
  test('is never sent, and named; what stands before it is', async () => {
    const { setting, machine, reader } = await followed('rotten');
    await setting.writeMuch(100, 20 * KiB);
    await setting.flush();
    await machine.pass(100);
    const segment = must([...machine.group().chain.live()][0], 'there is a segment');
    const { path } = segment.file;
    const file = machine.disk.openSync(path, 'read-write', 'segment');
    const right = new Uint8Array(1);
    const at = 1 * MiB;
    file.readSync(right, 0, 1, at);
    file.writeSync(Uint8Array.of((right[0] ?? 0) ^ 4), 0, 1, at);
    const seen: string[] = [];
    for (let i = 0; i < 30 && seen.length < 3; i += 1) {
      const result = await reader.read({ batchBytes: 200 * KiB, waitMilliseconds: 10 });
      if (result.kind !== 'problem') continue;
      expect(result.code).toBe('record_unreadable');
      expect(result.text).toContain(path);
      seen.push(result.text);
    }
    expect(seen).toHaveLength(3);
    await machine.pass(5);
    const { number } = reader;
    expect(number).toBeGreaterThan(40);
    expect(number).toBeLessThan(60);
    expect(machine.group().conditions.has('g', 'journal_unreadable')).toBe(true);
    file.writeSync(right, 0, 1, at);
    await reader.drain();
    await machine.pass(5);
    expect(reader.number).toBe(101);
    expect(machine.group().conditions.has('g', 'journal_unreadable')).toBe(false);
  });

  test('is told of no more when nobody asks for it', async () => {
    const { setting, machine, reader } = await followed('left');
    await setting.writeMuch(100, 20 * KiB);
    await setting.flush();
    const path = '/data/groups/g/journal';
    machine.machine.faults.add({ kind: 'read_error', operation: 'read', path });
    const isTold = (): boolean => machine.group().conditions.has('g', 'journal_unreadable');
    for (let i = 0; i < 50 && !isTold(); i += 1) {
      await reader.read();
      await machine.pass(5);
    }
    expect(isTold()).toBe(true);
    machine.group().followers.drop(7);
    await machine.pass(100);
    expect(isTold()).toBe(false);
  });

  test('is told of when the device fails, and read when it does not any more', async () => {
    const { setting, machine, reader } = await followed('device');
    await setting.writeMuch(100, 20 * KiB);
    await setting.flush();
    const path = '/data/groups/g/journal';
    machine.machine.faults.add({ kind: 'read_error', operation: 'read', path });
    let result = await reader.read();
    for (let i = 0; i < 50 && result.kind !== 'problem'; i += 1) result = await reader.read();
    expect(result).toMatchObject({ code: 'record_unreadable' });
    machine.machine.faults.clear();
    await reader.drain();
    expect(reader.number).toBe(101);
  });
});

describe('requests of another kind', () => {
  test('are answered by the main thread', async () => {
    const { machine, source } = await followed('forward', {}, ({ method, path, body }) =>
      Promise.resolve({
        status: 201,
        headers: { 'content-type': 'text/plain' },
        body: Buffer.from(`${method} ${path} ${Buffer.from(body).toString()}`),
      }),
    );
    const asked = [1, 2, 3].map((number) =>
      source.transport.ask({ method: 'POST', path: `/x/${number}`, body: Buffer.from('y') }),
    );
    await machine.until(() => asked.every(({ isDone }) => isDone));
    expect(asked.map(({ status, body }) => `${status} ${body.toString()}`)).toEqual([
      '201 POST /x/1 y',
      '201 POST /x/2 y',
      '201 POST /x/3 y',
    ]);
  });
});

describe('a reader that takes its answers slowly', () => {
  test('holds nobody else up', async () => {
    const { setting, machine, source, reader } = await followed('slow');
    machine.group().followers.register(8, 'reader', 0);
    machine.group().followers.register(9, 'reader', 0);
    await machine.pass(2);
    await setting.writeMuch(200, 100 * KiB);
    await setting.flush();
    const slow = [8, 9].map((systemId) => new TestReader(source, systemId));
    const held = slow.flatMap((other) =>
      Array.from({ length: 20 }, () => other.ask({ waitMilliseconds: 10 }, true)),
    );
    await machine.pass(100);
    await reader.drain();
    expect(reader.number).toBe(201);
    // They hold a part of the memory, and no more.
    expect(held.filter(({ status }) => status === 200).length).toBeLessThan(20);
    for (const answer of held) answer.leave();
    await machine.pass(100);
    for (const other of slow) await other.drain();
    expect(slow.map(({ number }) => number)).toEqual([201, 201]);
  });
});
