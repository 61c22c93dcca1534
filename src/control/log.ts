import { destination, pino } from 'pino';

/** One line per change of state, never per request of a host. */
export interface Log {
  info(code: string, message: string, fields?: Record<string, unknown>): void;
  /** Something is not as it should be, or is again. */
  warn(code: string, message: string, fields?: Record<string, unknown>): void;
  /** The process ends because of this. */
  fatal(code: string, message: string, fields?: Record<string, unknown>): void;
  /** Writes what is still in memory. */
  flush(): void;
}

/** What a reader does not take in time is dropped beyond this: a stuck terminal must not stop a disk. */
const pendingBytesMax = 1024 * 1024;
const standardError = 2;

/** Logs to standard error: lines for people on a terminal, JSON elsewhere. */
export function openLog(): Log {
  const out = destination({ dest: standardError, sync: false, maxLength: pendingBytesMax });
  out.on('error', () => undefined);
  const isTerminal = process.stderr.isTTY;
  const stream = isTerminal ? { write: (line: string) => out.write(readable(line)) } : out;
  const logger = pino(
    {
      base: null,
      messageKey: 'message',
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (level) => ({ level }) },
    },
    stream,
  );
  return {
    info: (code, message, fields) => logger.info({ code, ...fields }, message),
    warn: (code, message, fields) => logger.warn({ code, ...fields }, message),
    fatal: (code, message, fields) => logger.fatal({ code, ...fields }, message),
    flush: () => {
      try {
        out.flushSync();
      } catch {
        // Nobody reads it any more.
      }
    },
  };
}

function readable(line: string): string {
  const { time, level, code, message, nextCommand, stack } = JSON.parse(line) as Record<
    string,
    string | undefined
  >;
  const clock = (time ?? '').slice(11, 19);
  const next = nextCommand === undefined ? '' : `; next: ${nextCommand}`;
  const trace = stack === undefined ? '' : `\n${stack}`;
  return `${clock} ${level ?? ''} ${code ?? ''}: ${message ?? ''}${next}${trace}\n`;
}
