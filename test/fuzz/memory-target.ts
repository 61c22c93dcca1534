/** A process that serves two volumes in memory: `memory-target.ts SOCKET SIZE`. */
import { serveVolumes } from '../support/nbd-server.ts';

const [, , path = '', sizeBytes = '0'] = process.argv;
const settings = {
  sizeBytes: Number(sizeBytes),
  durableMilliseconds: 2,
  unsyncedBytesMax: 8 << 20,
};
const volumes = [
  { ...settings, name: 'attacked', readMilliseconds: 1 },
  { ...settings, name: 'quiet' },
];
const served = await serveVolumes(volumes, { slabsMax: 64, replyBytesMax: 4 << 20 });
const [bound] = await served.server.listen([{ kind: 'unix', path }]);
const { address } = served;
console.log(`listening ${address.kind === 'tcp' ? address.port : 0} ${bound?.kind}`);
process.once('SIGTERM', () => {
  void served.stop().then(() => process.exit(0));
});
