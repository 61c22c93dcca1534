/** Worker of the tests: answers, writes into shared memory, or dies, as it is told. */
import { nodeWorkerSide } from '../../src/platform/node-worker.ts';

export interface EchoRequest {
  readonly text: string;
  readonly shared?: Int32Array;
}

const port = nodeWorkerSide<string, EchoRequest>();
port.receive(({ text, shared }) => {
  if (text === 'throw') throw new Error('told to throw');
  if (text === 'close') {
    void port.close();
    return;
  }
  if (shared !== undefined) shared[0] = text.length;
  port.post(text);
});
