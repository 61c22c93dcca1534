import type { Campaign } from './campaign.ts';
import { prepareSource } from './imports.ts';

/** SIGTERM while hosts come and a volume is being filled. */
export async function stopBusy(campaign: Campaign): Promise<void> {
  const { simulation, random } = campaign;
  const [group] = simulation.groups.keys();
  const running = new AbortController();
  if (group !== undefined && random.chance(0.5)) {
    prepareSource(campaign);
    const volume = `${group}/n${simulation.clock.events}-stopped`;
    const call = { signal: running.signal, progress: () => undefined };
    const { daemon } = simulation;
    daemon.composed.control
      .change('/verbs/volume-create', { volume, from: '/source' }, call)
      .catch((error: unknown) => {
        if (!daemon.isDead) simulation.operatingError(error, 'an import that was stopped');
      })
      .catch((error: unknown) => simulation.report(String(error)));
  }
  campaign.connectHosts();
  for (const host of simulation.hosts) host.work(20, 1024 * 1024);
  const outcome = await simulation.pass(random.fraction() * random.pick([0.5, 2]));
  if (outcome !== 'done') return;
  running.abort();
  await simulation.stop();
}
