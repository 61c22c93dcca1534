/** A broken invariant is a programming error: it stops the process, in production too. */
export class InvariantError extends Error {
  constructor(message: string) {
    super(`invariant broken: ${message}`);
    this.name = 'InvariantError';
  }
}

/** On the way of every request no text is put together that nobody reads: the numbers stand beside it. */
export function assert(
  condition: boolean,
  message: string,
  first?: number,
  second?: number,
  third?: number,
): asserts condition {
  if (!condition) throw new InvariantError(textOf(message, first, second, third));
}

/** The value, which must be there. `which` one, as with `assert`. */
export function must<T>(value: T | undefined | null, message: string, which?: number): T {
  if (value === undefined || value === null) throw new InvariantError(textOf(message, which));
  return value;
}

function textOf(message: string, ...numbers: readonly (number | undefined)[]): string {
  const given = numbers.filter((each) => each !== undefined);
  return given.length === 0 ? message : `${message} (${given.join(', ')})`;
}

export function unreachable(value: never): never {
  throw new InvariantError(`unexpected value ${String(value)}`);
}
