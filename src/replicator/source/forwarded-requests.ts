import { JnbdError } from '../../platform/errors.ts';
import type { FromSource, ToSource } from './source-messages.ts';
import type { Answer, IncomingRequest } from '../transport/transport.ts';
import { problemAnswer } from '../protocol/wire-json.ts';

/** Their bodies are in memory until the main thread has answered. */
const requestsMax = 64;

/** What is no journal read goes to the main thread, and its answer back to who asked. */
export class ForwardedRequests {
  readonly #post: (message: FromSource) => void;
  readonly #answers = new Map<number, Answer>();
  #last = 0;

  constructor(post: (message: FromSource) => void) {
    this.#post = post;
  }

  forward(incoming: IncomingRequest, answer: Answer): void {
    if (this.#answers.size >= requestsMax) {
      const text = `${requestsMax} requests are being answered already; try again`;
      sendProblem(answer, new JnbdError('memory_exhausted', text));
      return;
    }
    this.#last += 1;
    this.#answers.set(this.#last, answer);
    this.#post({ kind: 'request', request: this.#last, incoming });
  }

  answered({ request, status, headers, body }: ToSource & { readonly kind: 'answer' }): void {
    const answer = this.#answers.get(request);
    this.#answers.delete(request);
    if (!answer) return;
    answer.head(status, headers);
    if (body.length > 0) answer.send(body, () => {});
    answer.end();
  }
}

export function sendProblem(answer: Answer, error: JnbdError, details = {}): void {
  const { status, headers, body } = problemAnswer(error, details);
  answer.head(status, headers);
  answer.send(body, () => {});
  answer.end();
}
