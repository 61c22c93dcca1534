import { JnbdError } from '../../platform/errors.ts';
import type { Exchange, RequestLimits, TransportClient, TransportRequest } from './transport.ts';
import { jsonBytesMax, type WireHeaders } from '../protocol/wire.ts';

export interface WholeAnswer {
  readonly status: number;
  readonly headers: WireHeaders;
  readonly body: Uint8Array;
}

/** Asks for something small, as JSON is. Rejects with the JnbdError that the exchange failed with. */
export function wholeAnswer(
  client: TransportClient,
  request: TransportRequest,
  limits: RequestLimits,
): Promise<WholeAnswer> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    let status = 0;
    let headers: WireHeaders = {};
    let isOver = false;
    const exchange: Exchange = client.request(request, limits, {
      head(answered, told) {
        status = answered;
        headers = told;
      },
      body(chunk) {
        if (isOver) return;
        bytes += chunk.length;
        if (bytes <= jsonBytesMax) {
          chunks.push(chunk);
          return;
        }
        isOver = true;
        chunks.length = 0;
        const text = `the answer to ${request.path} is longer than ${jsonBytesMax} bytes`;
        reject(new JnbdError('protocol_violated', text));
        exchange.abort();
      },
      ended() {
        if (!isOver) resolve({ status, headers, body: Buffer.concat(chunks) });
      },
      failed(error) {
        if (!isOver) reject(error);
      },
    });
  });
}
