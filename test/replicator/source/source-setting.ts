import { must } from '../../../src/platform/assert.ts';
import type { FromSource, ToSource } from '../../../src/replicator/source/source-messages.ts';
import { Source, type SourceDependencies } from '../../../src/replicator/source/source.ts';
import { SourceWorker } from '../../../src/replicator/source/source-worker.ts';
import type { SimulatedMachine } from '../../journal/simulated-system.ts';
import { ProcessClock } from '../../simulation/simulated-clock.ts';
import { spawnSimulatedWorker } from '../../simulation/simulated-worker.ts';
import { MemoryTransport } from './memory-transport.ts';

/** The source side of a simulated system's replication, over all starts of its daemon. */
export class SourceSetting {
  readonly machine: SimulatedMachine;
  #clock: ProcessClock;
  #transport: MemoryTransport;
  #source: Source | undefined;
  /** Messages to the worker, by kind. */
  readonly posted = new Map<string, number>();

  constructor(machine: SimulatedMachine) {
    this.machine = machine;
    this.#clock = new ProcessClock(machine.clock);
    this.#transport = new MemoryTransport(this.#clock);
  }

  get transport(): MemoryTransport {
    return this.#transport;
  }

  get source(): Source {
    return must(this.#source, 'the source was started');
  }

  /** The daemon runs: its groups can be followed from now on. */
  async start(answer: SourceDependencies['answer'] = refuse): Promise<void> {
    const clock = new ProcessClock(this.machine.clock);
    this.#clock = clock;
    const transport = new MemoryTransport(clock);
    this.#transport = transport;
    const { disk } = this.machine;
    const random = this.machine.random.fork('source');
    const port = spawnSimulatedWorker<ToSource, FromSource>(
      clock,
      random,
      (worker) => new SourceWorker({ disk, clock, transport }, worker),
    );
    const source = new Source({
      systemId: this.machine.system.systemId,
      clock,
      answer,
      refused: () => undefined,
      port: {
        ...port,
        post: (message) => {
          this.posted.set(message.kind, (this.posted.get(message.kind) ?? 0) + 1);
          port.post(message);
        },
        receive: (handler) => port.receive(handler),
        close: () => port.close(),
      },
    });
    for (const group of this.machine.system.groups.values()) source.add(group);
    this.#source = source;
    const address = { kind: 'tcp', host: '127.0.0.1', port: 10810 } as const;
    await this.machine.run(source.listen({ address, cleartext: 'loopback' }));
  }

  /** Before the machine's daemon ends in any way. */
  end(): void {
    this.#clock.kill();
  }
}

function refuse(): Promise<never> {
  return Promise.reject(new Error('nothing is forwarded'));
}
