/** How people write sizes, times and addresses, here and in configuration files; no other syntax is accepted. */
import { z } from 'zod';
import { namedPosition, positionPattern } from '../platform/position-text.ts';
import { isHostName } from '../platform/certificate-names.ts';
import { parseDuration } from '../platform/duration-text.ts';
import { JnbdError } from '../platform/errors.ts';
import { namePattern } from '../platform/limits.ts';
import type { ListenAddress } from '../platform/network.ts';
import { parseBatchSize, parsePace } from '../platform/pace-settings.ts';
import { parseSchedule } from '../platform/schedule-text.ts';
import { parseSize } from '../platform/size-text.ts';

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

/** `10m` and `-10m` ago, or a moment of RFC 3339; `at` is Unix time, both in milliseconds. */
export const pastTime = z.string().transform((text, context) => {
  const ago = parseDuration(text.replace(/^-/, ''));
  if (ago !== undefined) return { ago };
  const at = momentOf(text);
  if (at !== undefined) return { at };
  context.addIssue({
    code: 'custom',
    message: `'${text}' is no time; write 10m for ten minutes ago, or 2030-01-31T12:00:00Z`,
  });
  return z.NEVER;
});

/** A moment of RFC 3339, in Unix milliseconds. */
export const moment = z.string().transform((text, context) => {
  const at = momentOf(text);
  if (at !== undefined) return at;
  context.addIssue({
    code: 'custom',
    message: `'${text}' is no time; write 2030-01-31T12:00:00Z`,
  });
  return z.NEVER;
});

function momentOf(text: string): number | undefined {
  const isMoment = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/.test(
    text,
  );
  const at = isMoment ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? undefined : at;
}

/** Text that a parser of ours reads; what it says of another text is the issue. */
function read<T>(parse: (text: string) => T) {
  return z.string().transform((text, context): T => {
    try {
      return parse(text);
    } catch (error) {
      if (!(error instanceof JnbdError)) throw error;
      context.addIssue({ code: 'custom', message: error.message });
      return z.NEVER;
    }
  });
}

export const snapshotSchedule = written(
  z.array(z.object({ everySeconds: z.int().positive(), keep: z.int().positive() })),
  (text) => {
    const rules = parseSchedule(text);
    return rules ? [...rules] : undefined;
  },
  'a schedule; write none, or what is kept of each: hourly:24,daily:7,weekly:4,15m:8 (from 1m on, 200 together)',
);

export const pace = read(parsePace);
export const batchSize = read(parseBatchSize);

/** How far back: a time, or what it may take; as it stands in JSON, `kind` says which. */
export const historyLimit = written(
  z.union([
    z.literal('off'),
    z.strictObject({ kind: z.literal('time'), milliseconds: z.number().positive() }),
    z.strictObject({ kind: z.literal('size'), bytes: z.int().positive() }),
  ]),
  parseHistoryLimit,
  'a time such as 24h, a size such as 10GiB, or off',
);

function parseHistoryLimit(
  text: string,
): 'off' | { kind: 'time'; milliseconds: number } | { kind: 'size'; bytes: number } | undefined {
  if (text === 'off') return 'off';
  const milliseconds = parseDuration(text);
  if (milliseconds !== undefined) return { kind: 'time', milliseconds };
  const bytes = parseSize(text);
  return bytes === undefined ? undefined : { kind: 'size', bytes };
}

/** A whole number from `least` on. */
export function count(least: number) {
  const form = `a whole number from ${least} on`;
  return written(
    z.int().min(least),
    (text) => (/^\d{1,9}$/.test(text) && Number(text) >= least ? Number(text) : undefined),
    form,
  );
}

/** Of a group, in time or by number. */
export const position = z
  .string()
  .refine((text) => text === 'latest' || positionPattern.test(text), {
    error: (issue) =>
      `'${String(issue.input)}' is no position; write NUMBER, GENERATION:NUMBER, a time as 2030-01-31T12:00:00Z, or -10m`,
  });

/** The same, or of something that was made there. */
export const pastPosition = z
  .string()
  .refine((text) => text === 'latest' || positionPattern.test(text) || namedPosition.test(text), {
    error: (issue) =>
      `'${String(issue.input)}' is no position; write latest, NUMBER, GENERATION:NUMBER, a time as 2030-01-31T12:00:00Z, -10m, snapshot:NAME or marker:CUT`,
  });

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

/** Several of a kind in one text, with commas between. */
export function commaList<T extends z.ZodType<unknown, string>>(value: T) {
  return z
    .string()
    .transform((text) => text.split(',').map((each) => each.trim()))
    .pipe(z.array(value));
}

export const hostName = z.string().refine(isHostName, {
  error: (issue) => `'${String(issue.input)}' is neither a DNS name nor an IP address`,
});

/** `VOLUME=FILE`; as it travels the file is absolute. */
export const seed = z.string().transform((text, context) => {
  const [, volume = '', path = ''] = /^([^=]*)=(.*)$/s.exec(text) ?? [];
  if (namePattern.test(volume) && path !== '') return { volume, path };
  context.addIssue({
    code: 'custom',
    message: `'${text}' is no image for a volume; write VOLUME=FILE`,
  });
  return z.NEVER;
});

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

/** `GROUP/VOLUME`, or all volumes of `GROUP`. */
export const volumesPath = z.string().transform((text, context) => {
  const [group = '', volume, ...rest] = text.split('/');
  const isVolume = volume === undefined || namePattern.test(volume);
  if (rest.length === 0 && namePattern.test(group) && isVolume) return { group, volume };
  context.addIssue({
    code: 'custom',
    message: `'${text}' names neither a group nor a volume; write GROUP or GROUP/VOLUME, each ${nameForm}`,
  });
  return z.NEVER;
});

/** `GROUP@NAME`. */
function pathIn(what: string) {
  return z.string().transform((text, context) => {
    const [group = '', name = '', ...rest] = text.split('@');
    if (rest.length === 0 && namePattern.test(group) && namePattern.test(name)) {
      return { group, name };
    }
    context.addIssue({
      code: 'custom',
      message: `'${text}' names no ${what}; write GROUP@NAME, each ${nameForm}`,
    });
    return z.NEVER;
  });
}

export const snapshotPath = pathIn('snapshot');
export const viewPath = pathIn('view');

const placePattern = /^(https?:\/\/[^/\s,]+)\/([A-Za-z0-9][A-Za-z0-9._-]{0,63})$/;

function placeOf(text: string): { readonly url: string; readonly group: string } | undefined {
  const [, url, group] = placePattern.exec(text) ?? [];
  return url === undefined || group === undefined ? undefined : { url, group };
}

/** `URL/GROUP`: a group of another system. */
export const place = z.string().transform((text, context) => {
  const found = placeOf(text);
  if (found) return found;
  context.addIssue({
    code: 'custom',
    message: `'${text}' is no group of a system; write http://HOST:PORT/GROUP`,
  });
  return z.NEVER;
});

/** `LIST=URL/GROUP,URL/GROUP`. */
export const targetList = z.string().transform((text, context) => {
  const [, name = '', rest = ''] = /^([^=]*)=(.*)$/s.exec(text) ?? [];
  const places = rest.split(',').map((each) => placeOf(each.trim()));
  const known = places.filter((each) => each !== undefined);
  if (namePattern.test(name) && known.length === places.length) return { name, places: known };
  context.addIssue({
    code: 'custom',
    message: `'${text}' is no target list; write LIST=http://HOST:PORT/GROUP,http://HOST:PORT/GROUP`,
  });
  return z.NEVER;
});
