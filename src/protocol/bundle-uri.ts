/**
 * The v2 command `bundle-uri`: the repository's `bundle.*` configuration, as it stands, when
 * `uploadpack.advertiseBundleURIs` says so. Specification: gitprotocol-v2 "bundle-uri".
 */
import { GitwharfError } from "../base/errors.js";
import type { RepositorySettings } from "../storage/contracts/repository-settings.js";
import { type CommandRequest, readArguments } from "./wire/command-request.js";
import { FLUSH, formatPktText } from "./wire/pkt-line.js";
import { quoteLine } from "./wire/request-line.js";
import type { V2Conversation } from "./upload-pack/upload-pack-v2.js";

/** @throws protocol/bad-request for any argument */
export async function answerBundleUri(
  { context, reader, output }: V2Conversation,
  command: CommandRequest,
): Promise<void> {
  await readArguments(reader, command, (line) => {
    throw new GitwharfError("protocol/bad-request", `bundle-uri: unexpected argument: '${quoteLine(line)}'`);
  });
  await output.write(Buffer.from(formatBundleList(context.settings.bundle)), FLUSH);
}

/** `key=value`, a pkt-line each; what has no value is left out. */
function formatBundleList({ version, mode, heuristic, entries }: RepositorySettings["bundle"]): string {
  const pairs: (readonly [string, string | undefined])[] = [
    ["bundle.version", version],
    ["bundle.mode", mode],
    ["bundle.heuristic", heuristic],
    ...entries.map(({ id, key, value }) => [`bundle.${id}.${key}`, value] as const),
  ];
  let text = "";
  for (const [key, value] of pairs) {
    if (value !== undefined && value !== "") text += formatPktText(`${key}=${value}`) ?? "";
  }
  return text;
}
