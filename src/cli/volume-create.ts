import { resolve } from 'node:path';
import { formatSize } from '../platform/size-text.ts';
import type { ChangeCommand } from './command.ts';
import { done } from './texts.ts';

const endSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export const command: ChangeCommand<'volume create'> = {
  kind: 'change',
  name: 'volume create',
  prepare: (input) =>
    input.from === undefined || /^[a-z][a-z0-9+]*:\/\//i.test(input.from)
      ? input
      : { ...input, from: resolve(input.from) },
  async startProgress() {
    const { SingleBar, Presets } = (await import('cli-progress')).default;
    const bar = new SingleBar(
      {
        format: 'copying {bar} {percentage}% of {size}, {eta_formatted} left',
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
  },
  text: ({ result, group, volume }) =>
    [
      done(
        result,
        `volume ${group}/${volume.name}: ${formatSize(volume.sizeBytes)}${volume.journalOnly ? ', journal-only' : ''}`,
      ),
      ...volume.uris.map((uri) => `  ${uri}`),
    ].join('\n'),
};
