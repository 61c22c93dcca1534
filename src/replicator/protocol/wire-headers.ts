import { JnbdError } from '../../platform/errors.ts';

/** Names are lower case, as HTTP/2 wants them. Unknown ones are ignored by both sides. */
export type WireHeaders = Readonly<Record<string, string>>;

/** Decimal digits only: no sign, point, exponent or space. */
export function parseWhole(text: string | undefined, max: number): number | undefined {
  if (text === undefined || !/^\d{1,16}$/.test(text)) return undefined;
  const value = Number(text);
  return value <= max ? value : undefined;
}

export function required(headers: WireHeaders, name: string): string {
  const value = headers[name];
  if (value !== undefined) return value;
  throw new JnbdError('protocol_violated', `header ${name} is missing`);
}

export function wholeNumber(headers: WireHeaders, name: string, max: number): number {
  const text = required(headers, name);
  return parseWhole(text, max) ?? wrongHeader(name, text, `a whole number up to ${max}`);
}

export function numbersIn(
  headers: WireHeaders,
  name: string,
  count: number,
  max: number,
): number[] {
  const text = required(headers, name);
  const parts = text.split(',', count + 1);
  const numbers = parts.map((part) => parseWhole(part, max));
  if (numbers.length !== count || numbers.includes(undefined)) {
    wrongHeader(name, text, `${count} whole numbers with commas between`);
  }
  return numbers as number[];
}

/** Throws JnbdError protocol_violated. */
export function wrongHeader(name: string, value: string, right: string): never {
  throw new JnbdError(
    'protocol_violated',
    `header ${name} is '${value.slice(0, 80)}', not ${right}`,
  );
}
