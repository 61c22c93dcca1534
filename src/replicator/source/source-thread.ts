import { rightsOf } from '../../platform/certificate-rights.ts';
import { nodeClock } from '../../platform/clock.ts';
import { NodeDisk } from '../../platform/node-disk.ts';
import { nodeWorkerSide } from '../../platform/node-worker.ts';
import { http2Transport } from '../transport/http2-transport.ts';
import type { FromSource, ToSource } from './source-messages.ts';
import { SourceWorker } from './source-worker.ts';

/** The entry of the source's thread. */
new SourceWorker(
  { disk: new NodeDisk(), clock: nodeClock, transport: http2Transport, rightsOf },
  nodeWorkerSide<FromSource, ToSource>(),
);
