/**
 * The v2 command `bundle-uri`: the repository's `bundle.*` configuration, as it stands, when
 * `uploadpack.advertiseBundleURIs` says so, else the bundle that the server has made of it, if it makes any.
 * Specification: gitprotocol-v2 "bundle-uri".
 */
import { GitwharfError, isGitwharfError } from "../base/errors.js";
import type { StoredBundle } from "../storage/contracts/repository-bundles.js";
import type { RepositorySettings } from "../storage/contracts/repository-settings.js";
import { type CommandRequest, readArguments } from "./wire/command-request.js";
import { FLUSH, formatPktText } from "./wire/pkt-line.js";
import { quoteLine } from "./wire/request-line.js";
import { findOfferedBundle } from "./offered-bundle.js";
import type { UploadPackContext } from "./upload-pack/upload-pack-context.js";
import type { V2Conversation } from "./upload-pack/upload-pack-v2.js";

/** @throws protocol/bad-request for any argument */
export async function answerBundleUri(
  { context, reader, output }: V2Conversation,
  command: CommandRequest,
): Promise<void> {
  await readArguments(reader, command, (line) => {
    throw new GitwharfError("protocol/bad-request", `bundle-uri: unexpected argument: '${quoteLine(line)}'`);
  });
  const list = context.settings.uploadPack.advertiseBundleUris
    ? context.settings.bundle
    : await ownBundles(context);
  await output.write(Buffer.from(formatBundleList(list)), FLUSH);
}

const NONE: RepositorySettings["bundle"] = {
  version: "1",
  mode: "all",
  heuristic: undefined,
  entries: [],
};

/** One, or none: a client without bundles just fetches. */
async function ownBundles(context: UploadPackContext): Promise<RepositorySettings["bundle"]> {
  const { bundles } = context;
  if (bundles === undefined) return NONE;
  let bundle: StoredBundle | undefined;
  try {
    bundle = await findOfferedBundle(context);
  } catch (error) {
    // The person reads why when the pack is asked for.
    if (isGitwharfError(error, "access/denied")) return NONE;
    throw error;
  }
  if (bundle === undefined) {
    bundles.wanted();
    return NONE;
  }
  const uri =
    (await bundle.presign?.(bundles.lifetimeSeconds)) ??
    // The client takes it for a part of the address that it has of the repository.
    (bundles.hasFiles ? `./bundles/${bundle.id}.bundle` : undefined);
  return uri === undefined ? NONE : { ...NONE, entries: [{ id: bundle.id, key: "uri", value: uri }] };
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
