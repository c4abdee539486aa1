/** Having a pack made by another server, in whichever protocol it speaks. */
import type { ObjectFormat } from "../object/object-format.js";
import type { Discovery } from "./discovery.js";
import { fetchV0 } from "./fetch-v0.js";
import { fetchV2 } from "./fetch-v2.js";
import type { HttpTransport } from "./http-transport.js";
import type { PackAnswer } from "./pack-answer.js";
import type { PackRequest } from "./pack-request.js";

export interface FetchContext {
  readonly transport: HttpTransport;
  readonly objectFormat: ObjectFormat;
  /** How we name ourselves. */
  readonly agent: string;
  /** Of an answer up to its pack. */
  readonly answerBytesMax: number;
  readonly onRemoteText?: ((text: string) => void) | undefined;
}

/** @throws RemoteGitFailure, protocol/unsupported, base/limit-exceeded, base/aborted, object/corrupt, storage/io */
export function fetchPack(
  context: FetchContext,
  discovery: Discovery,
  request: PackRequest,
): Promise<PackAnswer> {
  return discovery.protocol === 2
    ? fetchV2(context, discovery, request)
    : fetchV0(context, discovery, request);
}
