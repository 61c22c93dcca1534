import { closeSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { journalCommand } from '../../src/cli/journal.ts';
import type { JournalReport, RecordReport } from '../../src/journal/inspect-report.ts';
import { JnbdError } from '../../src/platform/errors.ts';
import { NodeDisk } from '../../src/platform/node-disk.ts';
import { restore } from '../fixtures/sparse-dump.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';

const frozen = readFileSync(new URL('../fixtures/journal-format-1.gz', import.meta.url));
let directory: TemporaryDirectory;
let data = '';
let firstSegment = '';

beforeEach(() => {
  directory = temporaryDirectory('inspect');
  data = join(directory.path, 'data');
  firstSegment = join(data, 'groups/plain/journal/000000.segment');
  restore(new NodeDisk(), frozen, (path) => {
    const isWanted = path.startsWith('/data') && !path.startsWith('/data/groups/moved');
    return isWanted ? join(directory.path, path) : undefined;
  });
});

afterEach(() => directory.remove());

/** What a command line prints, and its exit code where it sets one. */
async function run(...words: string[]): Promise<{ text: string; code: number }> {
  let text = '';
  let code = 0;
  const write = vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
    text += String(chunk);
    return true;
  });
  try {
    const command = journalCommand((exit) => {
      code = exit;
    });
    await command.parseAsync(words, { from: 'user' });
  } finally {
    write.mockRestore();
  }
  return { text: stripVTControlCharacters(text), code };
}

function flip(path: string, offset: number): void {
  const descriptor = openSync(path, 'r+');
  const byte = Buffer.alloc(1);
  readSync(descriptor, byte, 0, 1, offset);
  byte[0] = (byte[0] ?? 0) ^ 1;
  writeSync(descriptor, byte, 0, 1, offset);
  closeSync(descriptor);
}

describe('jnbd journal check', () => {
  test('says that all is well, and exits 0', async () => {
    const { text, code } = await run('check', data);
    expect(text).toBe('no damage: 61 records of 3 segments in 1 group\n');
    expect(code).toBe(0);
    const { text: json } = await run('check', data, '--json');
    expect(JSON.parse(json)).toMatchObject({ formatVersion: 1, directory: data, damaged: false });
  });

  test('names what is damaged, and exits 7', async () => {
    flip(firstSegment, 6000);
    for (const named of [data, join(data, 'groups/plain'), join(data, 'groups/plain/journal')]) {
      const { text, code } = await run('check', named);
      expect(code).toBe(7);
      expect(text).toMatch(/^plain: damage record_damaged: update \d+ of .*000000\.segment cannot/);
      expect(text).toContain('damaged: 1 problem; read 60 records of 3 segments in 1 group');
    }
    const { text: json, code } = await run('check', data, '--json');
    expect(code).toBe(7);
    const report = JSON.parse(json) as JournalReport;
    expect(report.groups[0]?.problems).toMatchObject([
      { severity: 'damage', code: 'record_damaged', path: firstSegment },
    ]);
  });

  test('is an error where there is no journal', async () => {
    await expect(run('check', directory.path)).rejects.toThrow(JnbdError);
    await expect(run('check', join(data, 'jnbd.json'))).rejects.toMatchObject({
      code: 'group_not_found',
    });
  });
});

describe('jnbd journal inspect', () => {
  test('shows the group, its areas, its volumes and its segments', async () => {
    const { text, code } = await run('inspect', data);
    expect(code).toBe(0);
    for (const part of [
      /^group: +plain$/m,
      /^checkpoint: +applied 36, released 0; segment 1, offset \d+ \(slots: 1, 2\)$/m,
      /^head: +segment 3 begins at 37, \d+ was durable \(slots: 3, 2\)$/m,
      /^numbers: +1-61$/m,
      /^a start: +goes on behind 61$/m,
      /^area: +.*\/plain\/journal: ok, 12 segments: 2 live, 1 unused, 9 blank$/m,
      /^volume: +a \(1\): 768KiB, .* allocated, ok$/m,
      /^volume: +b \(3\): 512KiB, 0B allocated, journal-only$/m,
      /^1 +live +1-36 +36 .* 1 +[0-9a-f]{12} +.*000000\.segment$/m,
    ]) {
      expect(text).toMatch(part);
    }
  });

  test('of something damaged says so and exits 0', async () => {
    flip(join(data, 'groups/plain/checkpoint'), 50);
    const { text, code } = await run('inspect', data);
    expect(code).toBe(0);
    expect(text).toContain('damage checkpoint_damaged: the checkpoint at offset 0 of');
  });

  test('shows records, all or some', async () => {
    const { text } = await run('inspect', data, '--records', '--from', '10', '--through', '12');
    const lines = text.split('\n').filter((line) => /^ +\d+ {2}20/.test(line));
    expect(lines.map((line) => Number(line.trim().split(' ')[0]))).toEqual([10, 11, 12]);
    const { text: json } = await run('inspect', data, '--records', '--json');
    const { records } = JSON.parse(json) as { records: RecordReport[] };
    expect(records.filter(({ type }) => type === 'catalog').length).toBe(5);
    await expect(run('inspect', data, '--records', '--from', 'x')).rejects.toMatchObject({
      code: 'argument_invalid',
    });
  });
});
