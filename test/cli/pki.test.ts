import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verbs } from '../../src/control/schema.ts';
import { build, jnbd } from '../support/built-program.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';

let directory: TemporaryDirectory;

beforeAll(async () => {
  await build();
  directory = temporaryDirectory('pki');
}, 120_000);

afterAll(() => directory?.remove());

/** Where the authority is `pki`, relative to where it runs. */
function run(...args: string[]) {
  return jnbd(['pki', ...args], { directory: directory.path });
}

describe('jnbd pki', () => {
  it('makes an authority and certificates, without a daemon', async () => {
    const made = await run('init', 'pki', '--json');
    expect(made.code).toBe(0);
    expect(verbs['pki init'].result.parse(made.json)).toMatchObject({
      result: 'done',
      directory: join(directory.path, 'pki'),
    });
    const again = await run('init', 'pki');
    expect(again.stdout).toMatch(
      /^authority in .*\/pki, valid until \d{4}-\d\d-\d\d \(already done/,
    );
    expect(again.stdout).toMatch(/^next, for each system: jnbd pki issue pki NAME$/m);
    const args = ['issue', 'pki', 'paris', '--groups', 'main, db', '--read-only', '--hosts'];
    const issued = await run(...args, 'paris.example,10.0.0.1', '--days', '30', '--json');
    expect(verbs['pki issue'].result.parse(issued.json)).toMatchObject({
      result: 'done',
      system: 'paris',
      groups: ['main', 'db'],
      access: 'read',
      hosts: ['paris.example', '10.0.0.1'],
    });
    const same = await run(...args, 'paris.example,10.0.0.1');
    expect(same.stdout).toMatch(
      /certificate of paris in .*\/pki\/paris, valid .* \(already done\)/,
    );
    expect(same.stdout).toMatch(/rights: to read groups main, db\n/);
    const all = await run('issue', 'pki', 'rome_1');
    expect(all.stdout).toMatch(/hosts: {2}for clients alone: .*--hosts/);
    expect(all.stdout).toMatch(/rights: to read and change all groups/);
  });

  it.each([
    [['issue', 'pki', 'paris'], 4, /certificate of CN=paris, .* not overwritten/],
    [['issue', 'nowhere', 'paris'], 2, /make one: jnbd pki init .*nowhere/],
    [['init', 'pki', '--name', 'other'], 4, /not overwritten/],
    [['issue', 'pki', 'x', '--groups', 'a,,b'], 2, /--groups: '' is no name/],
    [['issue', 'pki', 'x', '--hosts', 'a b'], 2, /--hosts: 'a b' is neither a DNS name nor an IP/],
    [['issue', 'pki', '../x'], 2, /'\.\.\/x' is no name/],
    [['init', 'pki', '--days', '0'], 2, /--days: '0' is not a whole number from 1 on/],
    [['init', 'pki', '--data', 'x'], 2, /unknown option '--data'/],
    [['init'], 2, /missing required argument/],
  ])('%j exits %i', async (args, code, text) => {
    const result = await run(...args, '--json');
    expect({ code: result.code, said: result.stderr }).toEqual({
      code,
      said: expect.stringMatching(text),
    });
    expect(result.json).toMatchObject({ error: { message: expect.any(String) } });
  });

  it('shows what it makes', async () => {
    const help = await run('issue', '--help');
    for (const word of ['--groups <GROUP,...>', '--read-only', '--hosts', 'client-key.pem']) {
      expect(help.stdout).toContain(word);
    }
    expect(help.stdout).not.toContain('--connect');
    expect((await jnbd(['--help'])).stdout).toMatch(/^ +pki +certificates: init, issue$/m);
  });
});
