import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run, runChecked } from '../support/children.ts';
import { writeCertificates, writePreSharedKey } from '../support/certificates.ts';
import { startSubject, type Subject } from '../support/subject.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';
import { missingPrograms, requireProgram } from '../support/tools.ts';

const missing = missingPrograms('nbdinfo', 'nbdcopy', 'qemu-img', 'qemu-io', 'fio');
if (missing.length > 0)
  console.warn(`tests of client tools skipped: missing ${missing.join(', ')}`);

const MiB = 1024 * 1024;
const volumeBytes = 64 * MiB;

let directory: TemporaryDirectory;
let subject: Subject;
/** 64 MiB, of which 8 MiB from 4 MiB on and an odd end are not zero. */
let image: string;
let contents: Buffer;

function tool(name: string, ...args: (string | readonly string[])[]) {
  return runChecked(requireProgram(name), args.flat());
}

interface Extent {
  readonly offset: number;
  readonly length: number;
  readonly type: number;
}

async function mapOf(uri: string): Promise<Extent[]> {
  const { stdout } = await tool('nbdinfo', '--map', '--json', uri);
  return JSON.parse(stdout) as Extent[];
}

beforeAll(async () => {
  if (missing.length > 0) return;
  directory = temporaryDirectory('tools');
  image = join(directory.path, 'image');
  contents = Buffer.alloc(volumeBytes);
  randomBytes(8 * MiB).copy(contents, 4 * MiB);
  randomBytes(12_345).copy(contents, volumeBytes - 12_345);
  writeFileSync(image, contents);
  const names = ['one', 'two', 'three', 'four', 'five'];
  subject = await startSubject({
    directory: directory.path,
    volumes: Object.fromEntries(names.map((name) => [name, volumeBytes])),
  });
});

afterAll(async () => {
  if (missing.length > 0) return;
  await subject.kill();
  directory.remove();
});

describe.skipIf(missing.length > 0)('client tools', () => {
  it('nbdinfo tells an export, lists all and maps holes', async () => {
    const uri = subject.uri('one');
    const { stdout } = await tool('nbdinfo', '--json', uri);
    const told = JSON.parse(stdout) as { protocol: string; exports: Record<string, unknown>[] };
    expect(told.protocol).toBe('newstyle-fixed');
    expect(told.exports[0]).toMatchObject({
      'export-size': volumeBytes,
      is_read_only: false,
      can_flush: true,
      can_fua: true,
      can_trim: true,
      can_zero: true,
      can_multi_conn: true,
      can_df: true,
      can_cache: true,
      contexts: ['base:allocation'],
    });

    const listed = await tool('nbdinfo', '--list', '--json', subject.uri(''));
    const exports = (JSON.parse(listed.stdout) as { exports: { 'export-name': string }[] }).exports;
    const names = exports.map((entry) => entry['export-name'].replace(/^g\//, ''));
    expect(names.sort()).toEqual(expect.arrayContaining(['five', 'four', 'one', 'three', 'two']));

    expect(await mapOf(uri)).toMatchObject([{ offset: 0, length: volumeBytes, type: 3 }]);
    await tool('qemu-io', '-f', 'raw', '-c', 'write -P 7 1M 64k', '-c', 'flush', uri);
    expect(await mapOf(uri)).toMatchObject([
      { offset: 0, length: MiB, type: 3 },
      { offset: MiB, length: 65_536, type: 0 },
      { offset: MiB + 65_536, length: volumeBytes - MiB - 65_536, type: 3 },
    ]);

    const unknown = await run(requireProgram('nbdinfo'), [subject.uri('nothing-of-that-name')]);
    expect(unknown.code).not.toBe(0);
  });

  it('nbdcopy copies in and out, sparsely, over several connections', async () => {
    const uri = subject.uri('two');
    await tool('nbdcopy', '--connections=4', '--flush', image, uri);
    const back = join(directory.path, 'back');
    await tool('nbdcopy', '--connections=4', uri, back);
    expect(readFileSync(back).equals(contents)).toBe(true);

    // From one export to another, and without asking for extents.
    await tool('nbdcopy', '--destination-is-zero', uri, subject.uri('three'));
    await tool('nbdcopy', '--no-extents', '--synchronous', subject.uri('three'), back);
    expect(readFileSync(back).equals(contents)).toBe(true);
    const allocated = (await mapOf(subject.uri('three'))).filter((extent) => extent.type === 0);
    const bytes = allocated.reduce((sum, extent) => sum + extent.length, 0);
    expect(bytes).toBeGreaterThanOrEqual(8 * MiB);
    expect(bytes).toBeLessThan(16 * MiB);
  });

  it('qemu-img converts and compares', async () => {
    const uri = subject.uri('four');
    await tool('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', image, uri);
    await tool('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', image, uri);
    const converted = join(directory.path, 'image.qcow2');
    await tool('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', uri, converted);
    await tool('qemu-img', 'compare', '-f', 'qcow2', '-F', 'raw', converted, uri);
    const mapped = await tool('qemu-img', 'map', '-f', 'raw', '--output=json', uri);
    const data = (JSON.parse(mapped.stdout) as { length: number; data: boolean }[]).filter(
      (extent) => extent.data,
    );
    expect(data.reduce((sum, extent) => sum + extent.length, 0)).toBeLessThan(16 * MiB);

    await tool('qemu-io', '-f', 'raw', '-c', 'write -P 1 5M 512', uri);
    const compared = await run(
      requireProgram('qemu-img'),
      [
        ['compare', '-f', 'raw', '-F', 'raw'],
        [image, uri],
      ].flat(),
    );
    expect(compared).toMatchObject({ code: 1 });
  });

  it('qemu-io writes, discards and writes zeroes', async () => {
    const uri = subject.uri('five');
    const commands = [
      'write -P 0xab 0 1M',
      'write -f -P 0xcd 512k 4k',
      'flush',
      'read -P 0xab 0 512k',
      'read -P 0xcd 512k 4k',
      'discard 0 64k',
      'write -z -u 64k 64k',
      'write -z 128k 64k',
      'flush',
      'read -P 0 0 192k',
      'read -P 0xab 192k 64k',
      'aio_write -P 0x11 2M 64k',
      'aio_write -P 0x22 3M 64k',
      'aio_flush',
      'read -P 0x11 2M 64k',
      'read -P 0x22 3M 64k',
    ];
    const { stdout } = await tool(
      'qemu-io',
      ['-f', 'raw', '--discard=unmap'],
      ...commands.flatMap((command) => ['-c', command]),
      uri,
    );
    expect(stdout).not.toMatch(/fail|error/i);
  });

  it.each([
    ['randwrite', '--bsrange=512-64k', '--blockalign=512', '--iodepth=16'],
    ['randrw', '--bsrange=512-64k', '--blockalign=512', '--iodepth=16'],
    // Here fio trims a block and then writes it, without waiting for the trim: one at a time.
    ['trimwrite', '--bs=16k', '--iodepth=1'],
  ])('fio verifies what it did: %s', async (mode, ...shape) => {
    const { stdout } = await tool(
      'fio',
      ['--name=verify', '--ioengine=nbd', `--uri=${subject.uri('one')}`, `--rw=${mode}`],
      ...shape,
      ['--size=32M', '--io_size=32M', '--fsync=64', '--norandommap=0', '--randrepeat=0'],
      ['--verify=crc32c', '--verify_fatal=1', '--do_verify=1', '--verify_state_save=0'],
    );
    expect(stdout).toMatch(/err= 0/);
  });
});

describe.skipIf(missing.length > 0)('client tools over TLS', () => {
  it.each(['certificates', 'a pre-shared key'])('nbdcopy and qemu-img with %s', async (kind) => {
    const own = temporaryDirectory('tools-tls');
    const withCertificates = kind === 'certificates';
    const credentials = join(own.path, 'credentials');
    await writeCertificates(credentials);
    // QEMU finds keys by this name only.
    const keys = join(credentials, 'keys.psk');
    writePreSharedKey(keys, 'host');
    const server = await startSubject({
      directory: own.path,
      volumes: { volume: volumeBytes },
      ...(withCertificates ? { certificates: credentials } : { preSharedKeys: keys }),
    });
    try {
      const uri = withCertificates
        ? `nbds://localhost:${server.port}/volume?tls-certificates=${credentials}`
        : `nbds://host@localhost:${server.port}/volume?tls-psk-file=${keys}`;
      await tool('nbdcopy', image, uri);
      const object = withCertificates
        ? `tls-creds-x509,id=tls,endpoint=client,dir=${credentials}`
        : `tls-creds-psk,id=tls,endpoint=client,dir=${credentials},username=host`;
      const options = `driver=nbd,host=localhost,port=${server.port},export=volume,tls-creds=tls`;
      await tool(
        'qemu-img',
        ['compare', '--object', object, '--image-opts'],
        [`driver=raw,file.filename=${image}`, options],
      );
    } finally {
      await server.kill();
      own.remove();
    }
  });
});
