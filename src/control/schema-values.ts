/** How people write sizes, times and addresses, here and in configuration files; no other syntax is accepted. */
import { z } from 'zod';
import { namePattern } from '../platform/limits.ts';
import type { ListenAddress } from '../platform/network.ts';
import { sizeUnits } from '../platform/size-text.ts';

/** `10GiB`, `1.5TiB`, or a number of bytes; `undefined` where it is none of these. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?) ?(B|KiB|MiB|GiB|TiB)?$/.exec(text);
  if (!match) return undefined;
  const unit = sizeUnits.find(([name]) => name === match[2])?.[1] ?? 1;
  const bytes = Number(match[1]) * unit;
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

const timeUnits: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** `20ms`, `2s`, `10m`, `24h` in milliseconds; `undefined` where it is none of these. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text);
  if (!match) return undefined;
  return Number(match[1]) * (timeUnits[match[2] ?? ''] ?? 1);
}

/** `HOST:PORT`, `[IPv6]:PORT` or `unix:PATH`; `undefined` where it is none of these. */
export function parseAddress(text: string): ListenAddress | undefined {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length);
    return path === '' ? undefined : { kind: 'unix', path };
  }
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]/\s]+)):(\d{1,5})$/.exec(text);
  if (!match) return undefined;
  const port = Number(match[3]);
  return port <= 65535 ? { kind: 'tcp', host: match[1] ?? match[2] ?? '', port } : undefined;
}

/** Text in one of the forms above, or the value itself, as it stands in JSON. */
function written<T>(value: z.ZodType<T>, parse: (text: string) => T | undefined, form: string) {
  return z.union([value, z.string()]).transform((given, context): T => {
    if (typeof given !== 'string') return given as T;
    const parsed = parse(given);
    if (parsed !== undefined) return parsed;
    context.addIssue({ code: 'custom', message: `'${given}' is not ${form}` });
    return z.NEVER;
  });
}

export const size = written(
  z.int().positive(),
  parseSize,
  'a size; write a number with KiB, MiB, GiB or TiB, such as 10GiB, or of bytes',
);

export const milliseconds = written(
  z.number().nonnegative(),
  parseDuration,
  'a time; write a number with ms, s, m or h, such as 20ms',
);

/** A whole number from `least` on. */
export function count(least: number) {
  const form = `a whole number from ${least} on`;
  return written(
    z.int().min(least),
    (text) => (/^\d{1,9}$/.test(text) && Number(text) >= least ? Number(text) : undefined),
    form,
  );
}

export const tcpAddress = z.string().transform((text, context) => {
  const address = parseAddress(text);
  if (address?.kind === 'tcp') return address;
  context.addIssue({ code: 'custom', message: `'${text}' is not HOST:PORT` });
  return z.NEVER;
});

export const listenAddress = z.string().transform((text, context) => {
  const address = parseAddress(text);
  if (address) return address;
  context.addIssue({ code: 'custom', message: `'${text}' is not HOST:PORT or unix:PATH` });
  return z.NEVER;
});

const nameForm = "a letter or digit, then up to 63 letters, digits, '.', '_' or '-'";

export const groupName = z
  .string()
  .regex(namePattern, { error: (issue) => `'${String(issue.input)}' is no name; ${nameForm}` });

/** `GROUP/VOLUME`. */
export const volumePath = z.string().transform((text, context) => {
  const [group = '', volume = '', ...rest] = text.split('/');
  if (rest.length === 0 && namePattern.test(group) && namePattern.test(volume)) {
    return { group, volume };
  }
  context.addIssue({
    code: 'custom',
    message: `'${text}' names no volume; write GROUP/VOLUME, each ${nameForm}`,
  });
  return z.NEVER;
});
