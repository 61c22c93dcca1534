/** `GET /v1/load`: how busy a system is. PROTOCOL.md, "Load". */
import { z } from 'zod';
import type { OwnLoad } from '../../platform/own-load.ts';
import type { TransportClient } from '../transport/transport.ts';
import { wholeAnswer } from '../transport/whole-answer.ts';
import { type Caller, encodeCaller } from '../protocol/wire.ts';
import { parseJson, readProblem } from '../protocol/wire-json.ts';

export const loadPath = '/v1/load';

const loadSchema = z.object({
  processorShare: z.number().min(0).max(1),
  eventLoopDelayMilliseconds: z.number().min(0),
}) satisfies z.ZodType<OwnLoad>;

const limits = { headMilliseconds: 3000, silenceMilliseconds: 3000 };

/** Rejects with JnbdError. */
export async function askLoad(client: TransportClient, caller: Caller): Promise<OwnLoad> {
  const request = { method: 'GET' as const, path: loadPath, headers: encodeCaller(caller) };
  const answer = await wholeAnswer(client, request, limits);
  if (answer.status >= 400) throw readProblem(answer.status, answer.body).error;
  return parseJson(loadSchema, answer.body, 'what the source says of its load');
}
