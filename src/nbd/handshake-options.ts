import {
  baseAllocation,
  listMetaContexts,
  type MetaContext,
  selectMetaContexts,
} from './meta-context.ts';
import {
  blockSizes,
  type ExportFacts,
  type HandshakeDirectory,
  type Negotiated,
  nothingNegotiated,
  type TlsMode,
  transmissionFlags,
} from './negotiation.ts';
import {
  decodeInfoRequest,
  decodeMetaContextRequest,
  decodeString,
  encodeAck,
  encodeInfoBlockSize,
  encodeInfoDescription,
  encodeInfoExport,
  encodeInfoName,
  encodeMetaContext,
  encodeOptionError,
  encodeServer,
  isMalformed,
} from './option-codec.ts';
import {
  NBD_INFO_BLOCK_SIZE,
  NBD_INFO_DESCRIPTION,
  NBD_INFO_NAME,
  NBD_OPT_EXPORT_NAME,
  NBD_OPT_EXTENDED_HEADERS,
  NBD_OPT_GO,
  NBD_OPT_INFO,
  NBD_OPT_LIST,
  NBD_OPT_LIST_META_CONTEXT,
  NBD_OPT_SET_META_CONTEXT,
  NBD_OPT_STARTTLS,
  NBD_OPT_STRUCTURED_REPLY,
  NBD_REP_ERR_EXT_HEADER_REQD,
  NBD_REP_ERR_INVALID,
  NBD_REP_ERR_POLICY,
  NBD_REP_ERR_UNKNOWN,
  NBD_REP_ERR_UNSUP,
} from './wire.ts';

/** How each option is answered. Pure. */

export interface OptionContext {
  readonly directory: HandshakeDirectory;
  readonly negotiated: Negotiated;
  readonly tlsMode: TlsMode;
  readonly isSecure: boolean;
}

interface Answered {
  readonly replies: readonly Uint8Array[];
  readonly negotiated: Negotiated;
}

export type OptionAnswer = Answered &
  (
    | { readonly next: 'continue' | 'secure' | 'destroy' }
    | {
        readonly next: 'open';
        readonly exportName: string;
        readonly information: readonly number[];
      }
  );

export function answerOption(
  option: number,
  data: Uint8Array,
  context: OptionContext,
): OptionAnswer {
  switch (option) {
    case NBD_OPT_EXPORT_NAME:
      return answerExportName(data, context);
    case NBD_OPT_LIST:
      return answerList(data, context);
    case NBD_OPT_STARTTLS:
      return answerStartTls(data, context);
    case NBD_OPT_INFO:
    case NBD_OPT_GO:
      return answerInfoOrGo(option, data, context);
    case NBD_OPT_STRUCTURED_REPLY:
      return answerStructuredReply(data, context);
    case NBD_OPT_EXTENDED_HEADERS:
      return answerExtendedHeaders(data, context);
    case NBD_OPT_LIST_META_CONTEXT:
    case NBD_OPT_SET_META_CONTEXT:
      return answerMetaContext(option, data, context);
    default:
      return refuse(option, context, NBD_REP_ERR_UNSUP, `option ${option} is not known here`);
  }
}

function reply(
  replies: readonly Uint8Array[],
  context: OptionContext,
  negotiated = context.negotiated,
): OptionAnswer {
  return { next: 'continue', replies, negotiated };
}

function refuse(option: number, context: OptionContext, type: number, text: string): OptionAnswer {
  return reply([encodeOptionError(option, type, text)], context);
}

function unknownExport(option: number, context: OptionContext, name: string): OptionAnswer {
  const text = name === '' ? 'there is no default export' : `there is no export named ${name}`;
  return refuse(option, context, NBD_REP_ERR_UNKNOWN, text);
}

function refuseData(option: number, data: Uint8Array, context: OptionContext): OptionAnswer {
  const text = `option ${option} takes no data, ${data.length} bytes came with it`;
  return refuse(option, context, NBD_REP_ERR_INVALID, text);
}

/** Has no way to say what is wrong: whatever is wrong ends the connection. */
function answerExportName(data: Uint8Array, context: OptionContext): OptionAnswer {
  const { negotiated } = context;
  const name = decodeString(data);
  // With extended headers the client must use GO.
  if (
    isMalformed(name) ||
    negotiated.replyForm === 'extended' ||
    context.directory.find(name.text) === undefined
  ) {
    return { next: 'destroy', replies: [], negotiated };
  }
  return { next: 'open', exportName: name.text, information: [], replies: [], negotiated };
}

function answerList(data: Uint8Array, context: OptionContext): OptionAnswer {
  if (data.length > 0) return refuseData(NBD_OPT_LIST, data, context);
  const replies: Uint8Array[] = context.directory
    .list()
    .map((facts) => encodeServer(NBD_OPT_LIST, facts.name, facts.description));
  replies.push(encodeAck(NBD_OPT_LIST));
  return reply(replies, context);
}

function answerStartTls(data: Uint8Array, context: OptionContext): OptionAnswer {
  if (context.tlsMode === 'off') {
    const text = 'TLS is not set up at this server';
    return refuse(NBD_OPT_STARTTLS, context, NBD_REP_ERR_POLICY, text);
  }
  if (context.isSecure) {
    return refuse(NBD_OPT_STARTTLS, context, NBD_REP_ERR_INVALID, 'TLS is already in use');
  }
  if (data.length > 0) return refuseData(NBD_OPT_STARTTLS, data, context);
  return { next: 'secure', replies: [encodeAck(NBD_OPT_STARTTLS)], negotiated: nothingNegotiated };
}

function answerInfoOrGo(option: number, data: Uint8Array, context: OptionContext): OptionAnswer {
  const request = decodeInfoRequest(data);
  if (isMalformed(request)) {
    return refuse(option, context, NBD_REP_ERR_INVALID, request.malformed);
  }
  const { name, information } = request;
  const facts = context.directory.find(name);
  if (!facts) return unknownExport(option, context, name);
  if (option === NBD_OPT_GO) {
    const { negotiated } = context;
    return { next: 'open', exportName: name, information, replies: [], negotiated };
  }
  const flags = transmissionFlags(facts, context.negotiated, name);
  return reply([...encodeFacts(option, facts, flags, information), encodeAck(option)], context);
}

/** The INFO replies that come before the ACK of INFO and of GO. */
export function encodeFacts(
  option: number,
  facts: ExportFacts,
  flags: number,
  asked: readonly number[],
): Buffer[] {
  const replies = [encodeInfoExport(option, facts.sizeBytes, flags)];
  if (asked.includes(NBD_INFO_NAME)) replies.push(encodeInfoName(option, facts.name));
  if (asked.includes(NBD_INFO_DESCRIPTION) && facts.description !== '') {
    replies.push(encodeInfoDescription(option, facts.description));
  }
  if (asked.includes(NBD_INFO_BLOCK_SIZE)) replies.push(encodeInfoBlockSize(option, blockSizes));
  return replies;
}

function answerStructuredReply(data: Uint8Array, context: OptionContext): OptionAnswer {
  const option = NBD_OPT_STRUCTURED_REPLY;
  if (data.length > 0) return refuseData(option, data, context);
  const { negotiated } = context;
  if (negotiated.replyForm === 'extended') {
    const text = 'extended headers are in use, they take the place of structured replies';
    return refuse(option, context, NBD_REP_ERR_EXT_HEADER_REQD, text);
  }
  return reply([encodeAck(option)], context, { ...negotiated, replyForm: 'structured' });
}

function answerExtendedHeaders(data: Uint8Array, context: OptionContext): OptionAnswer {
  const option = NBD_OPT_EXTENDED_HEADERS;
  if (data.length > 0) return refuseData(option, data, context);
  return reply([encodeAck(option)], context, { ...context.negotiated, replyForm: 'extended' });
}

function answerMetaContext(option: number, data: Uint8Array, context: OptionContext): OptionAnswer {
  const isSet = option === NBD_OPT_SET_META_CONTEXT;
  // A SET replaces what an earlier one selected also when it fails.
  const cleared: OptionContext = isSet
    ? { ...context, negotiated: { ...context.negotiated, metaContext: undefined } }
    : context;
  if (context.negotiated.replyForm === 'simple') {
    const text = 'metadata contexts need structured replies or extended headers first';
    return refuse(option, cleared, NBD_REP_ERR_INVALID, text);
  }
  const request = decodeMetaContextRequest(data);
  if (isMalformed(request)) {
    return refuse(option, cleared, NBD_REP_ERR_INVALID, request.malformed);
  }
  const { exportName, queries } = request;
  if (!context.directory.find(exportName)) return unknownExport(option, cleared, exportName);
  const found = isSet ? selectMetaContexts(queries) : listMetaContexts(queries);
  const replies: Uint8Array[] = found.map(({ id, name }: MetaContext) =>
    encodeMetaContext(option, isSet ? id : 0, name),
  );
  replies.push(encodeAck(option));
  if (!isSet) return reply(replies, context);
  const hasAllocation = found.some((entry) => entry.name === baseAllocation);
  return reply(replies, context, {
    ...context.negotiated,
    metaContext: { exportName, hasAllocation },
  });
}
