import { createInterface } from 'node:readline';
import { Child } from '../../support/children.ts';
import { requireProgram } from '../../support/tools.ts';

export interface MachineOptions {
  readonly kernel: string;
  readonly initramfs: string;
  readonly memoryMiB: number;
}

/**
 * A machine under QEMU's software emulation, talked to over its serial console. Its script prints lines
 * that begin with `@@ `; everything else is kept for a test that failed. The host is 10.0.2.2 to it.
 */
export class VirtualMachine {
  readonly #child: Child;
  readonly #said: string[] = [];
  #lastLines: string[] = [];
  #wake: (() => void) | undefined;

  constructor(options: MachineOptions) {
    this.#child = new Child(
      requireProgram('qemu-system-x86_64'),
      [
        ['-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '2'],
        ['-m', String(options.memoryMiB)],
        ['-nodefaults', '-no-reboot', '-display', 'none', '-serial', 'stdio'],
        ['-kernel', options.kernel, '-initrd', options.initramfs],
        ['-append', 'console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on'],
        ['-netdev', 'user,id=net', '-device', 'virtio-net-pci,netdev=net,romfile='],
      ].flat(),
      { stdio: ['pipe', 'pipe', 'pipe'] },
    );
    const stdout = this.#child.stdout;
    if (!stdout) throw new Error('the console is not connected');
    createInterface({ input: stdout }).on('line', (line) => {
      this.#lastLines = [...this.#lastLines.slice(-200), line];
      const marked = line.indexOf('@@ ');
      if (marked >= 0) this.#said.push(line.slice(marked + 3).trim());
      this.#wake?.();
    });
    void this.#child.exit.then(() => this.#wake?.());
  }

  /** The console's last lines. */
  get console(): string {
    return `${this.#lastLines.join('\n')}\n${this.#child.exited ? this.#child.output.slice(-2000) : ''}`;
  }

  /**
   * Waits for the line `@@ TOPIC words` and returns the words. Any other `@@` line before it is
   * dropped, except that `@@ failed` and the end of the machine are errors.
   */
  async expect(topic: string, timeoutSeconds: number): Promise<string> {
    const deadline = performance.now() + timeoutSeconds * 1000;
    for (;;) {
      for (let line = this.#said.shift(); line !== undefined; line = this.#said.shift()) {
        const [first = '', ...words] = line.split(' ');
        if (first === topic) return words.join(' ');
        if (first === 'failed') throw new Error(`in the guest: ${line}\n${this.console}`);
      }
      if (this.#child.exited)
        throw new Error(`the machine ended before "${topic}"\n${this.console}`);
      const left = deadline - performance.now();
      if (left <= 0) throw new Error(`no "${topic}" in ${timeoutSeconds} s\n${this.console}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** Types a line. */
  tell(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  async end(): Promise<void> {
    this.#child.signal('SIGKILL');
    await this.#child.exit;
  }
}
