/**
 * Builds in a dyno of an Openruko: what was pushed here is pushed on, to the dyno that its API server makes for it, by a
 * client of our own. Its pre-receive is the build, what it prints is the build's output, its report says how it ended. Slug,
 * release and processes are the platform's.
 */
import { abortedError, isGitwharfError } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { openPush, type OpenPush } from "../../client/send-pack.js";
import { RemoteGitFailure } from "../../client/remote-git-failure.js";
import type { BuildProduct } from "../../database/build-store.js";
import { planPack } from "../../engine/pack-plan.js";
import { createPlanCache } from "../../engine/plan-cache.js";
import { streamPack } from "../../engine/pack-stream.js";
import { nullObjectId, type ObjectId } from "../../object/object-id.js";
import { hexLength } from "../../object/object-format.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import type { RepositoryStore } from "../../storage/contracts/repository.js";
import type { DynoExecutor } from "../executors/dyno-executor.js";
import type { ExecutionLimits } from "../executors/executor.js";
import type { DeployState } from "../state/deploy-state.js";
import { ELSEWHERE } from "../state/elsewhere.js";
import { noCommit } from "./build-here.js";
import { BuildFailure } from "./build-failure.js";
import type { BuildWay, WayJob } from "./build-way.js";
import { keepBase, lastSucceeded, whatCameBetween } from "./push-base.js";
import { keepObjects, type KeptObjects, openKeptObjects } from "./kept-objects.js";

export interface BuildsInDynosOptions {
  readonly state: DeployState;
  readonly executor: DynoExecutor;
  readonly repositories: RepositoryStore;
  /** "refuse": the ref moves when the build is over. */
  readonly onBuildFailure: "refuse" | "accept";
  readonly limits: Pick<ExecutionLimits, "timeoutMs" | "outputBytesMax">;
  readonly log: (text: string, error?: unknown) => void;
}

const PRODUCT: BuildProduct = {
  slugPath: ELSEWHERE,
  slugBytes: 0,
  processTypes: {},
  config: {},
  framework: "Openruko",
};
const AGENT = "gitwharf";
const TIMER_MS_MAX = 0x7fff_ffff;

export function createBuildsInDynos(options: BuildsInDynosOptions): BuildWay {
  const { state, repositories, log } = options;
  return {
    async keep({ push, update, app }, directory) {
      await keepObjects(push, directory);
      if (options.onBuildFailure === "refuse")
        await keepBase({ builds: state.builds, app: app.id, oldOid: update.oldOid }, directory);
      return [];
    },
    async keepCommit({ repository, commit, app }) {
      const snapshot = await repository.snapshot();
      try {
        if (!(await snapshot.objects.has(commit as ObjectId))) throw noCommit(app.repository, commit);
      } finally {
        snapshot.release();
      }
    },
    async build(job) {
      const { build, app, signal } = job;
      const directory = state.directories.sourceOf(build.id);
      const kept = await openKeptObjects(
        repositories,
        {
          name: app.repository,
          directory,
          objectFormat: build.commit.length === hexLength("sha1") ? "sha1" : "sha256",
        },
        signal,
      );
      try {
        const other = await whatCameBetween(
          { builds: state.builds, build, snapshot: kept.snapshot },
          directory,
        );
        if (other !== undefined)
          throw new BuildFailure(
            `${other.slice(0, 7)} was pushed to ${app.branch} meanwhile: fetch, and push again`,
          );
        return await buildThere(options, job, kept);
      } catch (error) {
        if (error instanceof BuildFailure && error.cause !== undefined)
          log(`the build ${build.id} of ${app.name}: its dyno failed`, error.cause);
        throw error;
      } finally {
        await kept.close();
      }
    },
    // The dyno's branch is where the last build that succeeded has put it.
    async isKept(build) {
      return (await lastSucceeded(state.builds, build.app))?.id === build.id;
    },
  };
}

async function buildThere(
  options: BuildsInDynosOptions,
  job: WayJob,
  kept: KeptObjects,
): Promise<BuildProduct> {
  const { app, build, output } = job;
  const { timeoutMs, outputBytesMax } = options.limits;
  const ending = new AbortController();
  const end = (why: string): void => ending.abort(new BuildFailure(`the dyno was ended: ${why}`));
  const timer = Number.isFinite(timeoutMs)
    ? setTimeout(
        () => end(`it ran for more than ${timeoutMs / 1000} seconds`),
        Math.min(timeoutMs, TIMER_MS_MAX),
      )
    : undefined;
  const signal = AbortSignal.any([job.signal, ending.signal]);
  const leaving = new AbortController();
  let printed = 0;
  const print = async (bytes: Uint8Array): Promise<void> => {
    printed += bytes.length;
    if (printed > outputBytesMax) end(`it printed more than ${outputBytesMax} bytes`);
    else await output.raw(bytes);
  };
  try {
    await output.heading(`Asking for a dyno of ${app.name}`);
    const dyno = await options.executor.meet({ app: app.name, onErrors: print, signal });
    let push: OpenPush | undefined;
    try {
      push = await openPush(dyno, kept.objectFormat);
      const name = build.refName;
      const there = push.advertisement.refs.find((ref) => ref.name === name);
      const report = await push.send({
        updates: [{ name, oldOid: there?.oid ?? nullObjectId(kept.objectFormat), newOid: build.commit }],
        shallow: kept.snapshot.shallow,
        agent: AGENT,
        pack: packFor(push, kept, build.commit, leaving.signal),
        onProgress: print,
      });
      if (report.unpackFailure !== undefined)
        throw new BuildFailure(`the dyno could not unpack it: ${report.unpackFailure}`);
      const refusal = report.refs.get(name);
      if (refusal !== undefined) throw new BuildFailure(`the dyno refused it: ${refusal}`);
      if (!report.refs.has(name)) throw new BuildFailure("the dyno did not say what became of it");
      return PRODUCT;
    } finally {
      leaving.abort();
      if ((await dyno.close()) === "cut")
        await output.warning(
          `Error R12 (Exit timeout): the dyno has not ended within ${options.executor.exitTimeoutMs / 1000} seconds of being told to`,
        );
      // Nothing may be read of what was kept once this has ended.
      await push?.settled();
    }
  } catch (error) {
    if (job.signal.aborted) throw abortedError(job.signal);
    if (isGitwharfError(error, "base/aborted") && error.cause instanceof BuildFailure) throw error.cause;
    if (error instanceof RemoteGitFailure)
      throw new BuildFailure(error.message.replace("the other side", "the dyno"), { cause: error });
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** What the dyno lacks, as far as it has told what it has. */
async function* packFor(
  push: OpenPush,
  { snapshot }: KeptObjects,
  commit: ObjectId,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, void> {
  const { advertisement, takesThinPacks } = push;
  const haves = await known(snapshot.objects, new Set(advertisement.refs.map(({ oid }) => oid)));
  const plan = await planPack({
    snapshot,
    wants: [commit],
    haves,
    clientShallow: advertisement.shallow,
    thinPack: takesThinPacks && haves.length > 0,
    ofsDelta: advertisement.capabilities.has("ofs-delta"),
    signal,
    // Its packs are gone with the build.
    cache: createPlanCache(),
  });
  try {
    yield* streamPack(plan, { signal });
  } finally {
    plan.release();
  }
}

async function known(objects: ObjectReader, oids: ReadonlySet<ObjectId>): Promise<readonly ObjectId[]> {
  const found: ObjectId[] = [];
  for (const oid of oids) {
    const has = objects.has(oid);
    if (isPromise(has) ? await has : has) found.push(oid);
  }
  return found;
}
