import { expect, it } from 'vitest';
import { build } from '../support/built-program.ts';
import { ends, SyncRun } from './sync-run.ts';

const kills = Number(process.env['JNBD_SYNC_KILLS'] ?? ends.length);
const seed = Number(process.env['JNBD_SYNC_SEED'] ?? Date.now() % 2 ** 31);

it(
  `hosts that wait for a follower lose nothing in ${kills} kills of either side (seed ${seed})`,
  async () => {
    await build();
    const report = await new SyncRun({ kills, seed }).run();
    expect(report.kills).toBe(kills);
    // A load that met nothing would prove nothing.
    expect(report.acknowledged).toBeGreaterThan(kills * 20);
    expect(report.read).toBeGreaterThan(kills * 20);
    expect(report.promotions).toBeGreaterThan(kills / 2);
  },
  60_000 + kills * 30_000,
);
