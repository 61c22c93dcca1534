import type { ErrorKind, JnbdError } from './errors.ts';

const httpStatusOfKind: Record<ErrorKind, number> = {
  usage: 400,
  not_found: 404,
  refused: 409,
  retryable: 503,
  timed_out: 504,
  unreachable: 502,
  damage: 500,
  fatal: 500,
};

/** RFC 9457, with the stable code of the error. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: string;
}

/** What a caller is told of an error. `status`: where it is not the one of the error's kind. */
export function toProblem(error: JnbdError, status = httpStatusOfKind[error.kind]): Problem {
  return {
    type: `urn:jnbd:error:${error.code}`,
    title: error.code.replaceAll('_', ' '),
    status,
    detail: error.message,
    code: error.code,
  };
}
