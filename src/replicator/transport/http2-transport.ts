import { collectLessOften } from '../../platform/collection.ts';
import { Http2Client } from './http2-client.ts';
import { HttpPort } from './http-port.ts';
import type { Transport } from './transport.ts';

/** The real one. */
export const http2Transport: Transport = {
  connect: (target) => {
    collectLessOften();
    return new Http2Client(target);
  },
  listen: (options, handler) => HttpPort.listen(options, handler),
};
