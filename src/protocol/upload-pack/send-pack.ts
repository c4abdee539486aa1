/** Plans the pack and sends it, keeping the connection alive while nothing is there to send yet. */
import type { ByteSink } from "../../base/byte-streams.js";
import { isPromise } from "../../base/maybe-promise.js";
import type { ShallowBoundary } from "../../engine/shallow.js";
import { planPack } from "../../engine/pack-plan.js";
import { streamPack } from "../../engine/pack-stream.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import { compileHiddenRefs } from "../hidden-refs.js";
import type { SerialSideBand } from "../wire/side-band.js";
import type { FetchRequest } from "./fetch-request.js";
import type { UploadPackContext } from "./upload-pack-context.js";

export interface SendPackOptions {
  readonly context: UploadPackContext;
  readonly snapshot: Snapshot;
  readonly request: FetchRequest;
  readonly commons: readonly ObjectId[];
  readonly boundary: ShallowBoundary | undefined;
  /** Side-band, or the bare stream for clients without it. */
  readonly output: { readonly bands: SerialSideBand } | { readonly sink: ByteSink };
}

export async function sendPack(options: SendPackOptions): Promise<void> {
  const { context, snapshot, request, output } = options;
  const bands = "bands" in output ? output.bands : undefined;
  const isHidden = compileHiddenRefs(context.settings.uploadPack.hideRefs);
  const quiet = bands === undefined || request.noProgress;
  const planning = planPack({
    snapshot,
    wants: [...request.wants],
    haves: options.commons,
    clientShallow: request.clientShallow,
    shallow: options.boundary?.shallow,
    unshallow: options.boundary?.unshallow,
    filter: request.filter,
    thinPack: request.thinPack,
    ofsDelta: request.ofsDelta,
    includeTag: request.includeTag,
    isVisibleRef: (ref) => !isHidden(ref.name),
    limits: context.limits,
    signal: context.signal,
    onProgress: quiet ? undefined : (text) => void report(bands, text),
  });
  const seconds = context.settings.uploadPack.keepAliveSeconds;
  const timer =
    bands !== undefined && seconds > 0 ? setInterval(() => void report(bands, undefined), seconds * 1000) : undefined;
  try {
    const plan = await planning;
    try {
      await bands?.settled();
      for await (const chunk of streamPack(plan, { signal: context.signal })) {
        const written = "bands" in output ? output.bands.data(chunk) : output.sink.write(chunk);
        if (isPromise(written)) await written;
      }
    } finally {
      plan.release();
    }
  } finally {
    clearInterval(timer);
  }
}

/** A message beside the main stream. A write that fails is found again by the next one that is awaited. */
async function report(bands: SerialSideBand, text: string | undefined): Promise<void> {
  try {
    await (text === undefined ? bands.keepAlive() : bands.progress(text));
  } catch {
    // `settled` and the next `data` throw it where it is handled.
  }
}
