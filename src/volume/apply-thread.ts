import { NodeDisk } from '../platform/node-disk.ts';
import { nodeWorkerSide } from '../platform/node-worker.ts';
import type { FromApply, ToApply } from './apply-messages.ts';
import { ApplyWorker } from './apply.ts';

/** The entry of the apply thread. */
new ApplyWorker(new NodeDisk(), nodeWorkerSide<FromApply, ToApply>());
