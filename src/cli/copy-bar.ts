import type { Progress } from '../control/client.ts';
import { formatSize } from '../platform/size-text.ts';

const endSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Shows on a terminal how far a copy has come; the first `show` draws it. */
export const startCopyBar = (): ReturnType<typeof startBar> => startBar('copying');

/** As `startCopyBar`, of what is done otherwise. */
export async function startBar(
  what: string,
): Promise<{ show(progress: Progress): void; end(): void }> {
  const { SingleBar, Presets } = (await import('cli-progress')).default;
  const bar = new SingleBar(
    {
      format: `${what} {bar} {percentage}% of {size}, {eta_formatted} left`,
      hideCursor: true,
      clearOnComplete: true,
    },
    Presets.shades_classic,
  );
  let isStarted = false;
  // A bar that is not ended leaves the terminal without line breaks.
  const leave = (signal: NodeJS.Signals): void => {
    bar.stop();
    process.kill(process.pid, signal);
  };
  for (const signal of endSignals) process.once(signal, leave);
  return {
    show({ bytes, totalBytes }) {
      const payload = { size: formatSize(totalBytes) };
      if (!isStarted) bar.start(totalBytes, bytes, payload);
      isStarted = true;
      bar.update(bytes, payload);
    },
    end() {
      for (const signal of endSignals) process.removeListener(signal, leave);
      bar.stop();
    },
  };
}
