/**
 * upload-pack in version 2: commands, one after the other. Specification: gitprotocol-v2.
 */
import { GitwharfError } from "../../base/errors.js";
import { answerBundleUri } from "../bundle-uri.js";
import { answerObjectInfo } from "../object-info.js";
import { type CommandRequest, readArguments, readCommandRequest } from "../wire/command-request.js";
import { createLsRefsArguments, takeLsRefsArgument } from "../wire/ls-refs-arguments.js";
import type { PktLineReader } from "../wire/pkt-line.js";
import { quoteLine } from "../wire/request-line.js";
import { answerFetch } from "./fetch-v2.js";
import type { GatheringSink } from "./gathering-sink.js";
import { renderLsRefs } from "./ls-refs.js";
import { offersBundles, v2RequestCapabilities } from "./upload-pack-capabilities.js";
import { takeSnapshot, type UploadPackContext } from "./upload-pack-context.js";

export interface V2Conversation {
  readonly context: UploadPackContext;
  readonly reader: PktLineReader;
  readonly output: GatheringSink;
}

export async function serveUploadPackV2(
  conversation: V2Conversation,
  options: { readonly statelessRpc: boolean },
): Promise<void> {
  const { context, reader, output } = conversation;
  const { objectFormat } = context.repository;
  const advertised = v2RequestCapabilities(context);
  do {
    reader.beginRequest();
    const request = await readCommandRequest(reader, { objectFormat, advertised });
    if (request === undefined) return;
    await runCommand(conversation, request);
    await output.flush();
  } while (!options.statelessRpc);
}

async function runCommand(conversation: V2Conversation, request: CommandRequest): Promise<void> {
  const { transfer } = conversation.context.settings;
  switch (request.command) {
    case "ls-refs":
      return answerLsRefs(conversation, request);
    case "fetch":
      return answerFetch(conversation, request);
    case "object-info":
      if (transfer.advertiseObjectInfo) return answerObjectInfo(conversation, request);
      break;
    case "bundle-uri":
      if (offersBundles(conversation.context)) return answerBundleUri(conversation, request);
      break;
    default:
  }
  throw new GitwharfError("protocol/bad-request", `invalid command '${quoteLine(request.command)}'`);
}

async function answerLsRefs(
  { context, reader, output }: V2Conversation,
  request: CommandRequest,
): Promise<void> {
  const asked = createLsRefsArguments();
  await readArguments(reader, request, (line) => takeLsRefsArgument(asked, line));
  const snapshot = await takeSnapshot(context, { onlyRefs: true });
  try {
    await output.write(await renderLsRefs(context, snapshot, asked));
  } finally {
    snapshot.release();
  }
}
