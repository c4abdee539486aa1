/** Plans the pack and sends it, with signs of life while there is nothing to send. */
import { inStep } from "../../base/activity.js";
import { isPromise } from "../../base/maybe-promise.js";
import type { ObjectFilter } from "../../engine/filter.js";
import { planPack, type PackPlan } from "../../engine/pack-plan.js";
import { streamPack } from "../../engine/pack-stream.js";
import type { ShallowBoundary } from "../../engine/shallow.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import { describeForPeer } from "../service.js";
import type { FetchRequest } from "../wire/fetch-request.js";
import type { SideBandWriter } from "../wire/side-band.js";
import type { GatheringSink } from "./gathering-sink.js";
import { withKeepAlive } from "./keep-alive.js";
import { PackPhaseFailure } from "./pack-phase-failure.js";
import { countedText, totalText } from "./progress-text.js";
import type { UploadPackContext } from "./upload-pack-context.js";
import type { VisibleRefs } from "./visible-refs.js";

export interface SendPackOptions {
  readonly context: UploadPackContext;
  readonly snapshot: Snapshot;
  readonly refs: VisibleRefs;
  readonly request: FetchRequest;
  readonly filter: ObjectFilter | undefined;
  readonly commons: readonly ObjectId[];
  readonly boundary: ShallowBoundary | undefined;
  /** Made before, when something was to be said of it. @default it is made while there are signs of life */
  readonly plan?: PackPlan | undefined;
  readonly output: GatheringSink;
  /** Over `output`; undefined for clients without side-band: they get the bare stream. */
  readonly bands: SideBandWriter | undefined;
}

/**
 * The pack, and the flush behind it where there is side-band.
 * @throws PackPhaseFailure after the client was told on band 3; without side-band, and when the client has left,
 *   whatever it was
 */
export async function sendPack(options: SendPackOptions): Promise<void> {
  const { context, bands, output } = options;
  // Stops the planning when writing to the client fails.
  const own = new AbortController();
  const signal = AbortSignal.any([context.signal, own.signal]);
  const work = { current: undefined as Promise<unknown> | undefined };
  const seconds = bands === undefined ? 0 : context.settings.uploadPack.keepAliveSeconds;
  const beat = async (): Promise<void> => {
    await bands?.keepAlive();
    await output.flush();
  };
  const waitFor = <T>(promise: Promise<T>): Promise<T> => {
    work.current = promise;
    return withKeepAlive(promise, { seconds, beat });
  };
  try {
    const plan = await waitFor(
      options.plan === undefined ? planFetch(options, signal) : Promise.resolve(options.plan),
    );
    try {
      await inStep(context.activity, "send", () => sendPlanned(options, { plan, signal, waitFor }));
    } finally {
      plan.release();
    }
    await bands?.flush();
  } catch (error) {
    own.abort();
    // Nothing may be read from the snapshot once this has ended.
    await work.current?.catch(() => undefined);
    if (bands === undefined || context.signal.aborted) throw error;
    await bands.fatal(`${describeForPeer(error, context.activity)}\n`);
    throw new PackPhaseFailure(error);
  }
}

/** @param elsewhere keys of packs that may be left out */
export function planFetch(
  options: Omit<SendPackOptions, "output" | "bands" | "plan">,
  signal: AbortSignal,
  elsewhere: readonly string[] = [],
): Promise<PackPlan> {
  const { context, snapshot, refs, request, boundary } = options;
  const plan = (): Promise<PackPlan> =>
    planPack({
      repositoryId: context.repository.id,
      snapshot,
      wants: [...request.wants],
      haves: options.commons,
      clientShallow: [...request.clientShallow],
      shallow: boundary?.shallow,
      unshallow: boundary?.unshallow,
      filter: options.filter,
      thinPack: request.thinPack,
      ofsDelta: request.ofsDelta,
      includeTag: request.includeTag,
      isVisibleRef: refs.isVisible,
      limits: context.limits,
      elsewhere,
      signal,
    });
  return inStep(context.activity, "plan", plan);
}

async function sendPlanned(
  options: SendPackOptions,
  about: {
    readonly plan: PackPlan;
    readonly signal: AbortSignal;
    readonly waitFor: <T>(promise: Promise<T>) => Promise<T>;
  },
): Promise<void> {
  const { bands, output, request } = options;
  const { plan, waitFor } = about;
  const talks = bands !== undefined && !request.noProgress;
  if (talks) await bands.progress(countedText(plan));
  const chunks = streamPack(plan, { signal: about.signal });
  try {
    for (;;) {
      const next = await waitFor(chunks.next());
      if (next.done === true) break;
      const written = bands === undefined ? output.write(next.value) : bands.data(next.value);
      if (isPromise(written)) await written;
    }
  } finally {
    await chunks.return();
  }
  if (talks) await bands.progress(totalText(plan));
}
