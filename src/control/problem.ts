import type { ErrorKind, JnbdError } from '../platform/errors.ts';
import type { Problem } from './schema.ts';

const httpStatus: Record<ErrorKind, number> = {
  usage: 400,
  not_found: 404,
  refused: 409,
  retryable: 503,
  timed_out: 504,
  unreachable: 502,
  damage: 500,
  fatal: 500,
};

/** What a caller is told of an error. `status`: where it is not the one of the error's kind. */
export function toProblem(error: JnbdError, status = httpStatus[error.kind]): Problem {
  return {
    type: `urn:jnbd:error:${error.code}`,
    title: error.code.replaceAll('_', ' '),
    status,
    detail: error.message,
    code: error.code,
  };
}
