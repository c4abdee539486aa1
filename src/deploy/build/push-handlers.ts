/**
 * What a push to an app's branch sets going, as handlers: the build, whose output the pusher sees, before the ref moves; the
 * release and its launch once it has. The build is a job of its own: a pusher who leaves takes along only what has not begun,
 * and who pushes the same again finds it.
 */
import { randomUUID } from "node:crypto";
import { abortedError } from "../../base/errors.js";
import type { App } from "../../database/app-store.js";
import { type Build, isOpen } from "../../database/build-store.js";
import type { Push, PushedRef, PushHandlers, Verdict } from "../../engine/push.js";
import { digestOfConfig, type DeployState } from "../state/deploy-state.js";
import type { Builder } from "./builder.js";
import type { BuildWay } from "./build-way.js";
import type { BuildLogs } from "./build-log.js";
import { isOvertaken, type ReleaseBuilds } from "./release-builds.js";
import { createTerminalText } from "./terminal-text.js";

/** Of files that are left out. */
const NAMES_MAX = 5;
const LEFT = "the pusher left before it began";

export interface PushHandlersOptions {
  readonly state: DeployState;
  readonly builder: Builder;
  readonly way: BuildWay;
  readonly logs: BuildLogs;
  readonly releases: ReleaseBuilds;
  /** "accept": the ref moves first; a build that fails leaves a release that has failed. */
  readonly onBuildFailure: "refuse" | "accept";
  /** Told of builds of accepted pushes that have run out of time: nobody else releases them. */
  readonly releaseLater: (app: App, build: Build) => void;
  /** For waiting, building and launching together. */
  readonly timeoutMs: number;
  /** How long a place may keep what waits without a word. */
  readonly leaseMs: number;
}

export function createDeployHandlers(options: PushHandlersOptions): PushHandlers {
  const { state, releases, onBuildFailure } = options;
  /** undefined: nothing is built for it. */
  const appOf = async (push: Push, update: PushedRef): Promise<App | undefined> => {
    if (update.kind !== "branch" || update.deleted) return undefined;
    const app = await state.apps.findByRepository(push.repository.name);
    return app?.branch === update.shortName ? app : undefined;
  };
  return {
    timeoutMs: options.timeoutMs,
    async update(push, update): Promise<Verdict> {
      if (onBuildFailure === "accept") return undefined;
      const app = await appOf(push, update);
      if (app === undefined) return undefined;
      const build = await buildPush(options, app, push, update);
      if (build.status === "succeeded") return undefined;
      await print(push, `\n !     Push rejected: ${describe(build)}.\n\n`);
      return `build ${build.status}`;
    },
    async postReceive(push, updates) {
      for (const update of updates) {
        const app = await appOf(push, update);
        if (app === undefined) continue;
        const build =
          onBuildFailure === "accept"
            ? await buildPush(options, app, push, update)
            : await state.builds.latest(app.id, update.newOid);
        if (build === undefined || isOpen(build.status)) continue;
        if (build.status === "superseded") {
          await print(push, `\n !     Not built: ${build.reason}.\n\n`);
          continue;
        }
        await releases.release(app, build, (text) => print(push, text), push.signal);
      }
    },
  };
}

/** git's own prefix only where it cannot be avoided. */
async function print(push: Push, text: string): Promise<void> {
  await push.print(text, { prefix: false, colours: true });
}

function describe({ status, reason }: Build): string {
  return reason === "" ? `the build ${status}` : reason;
}

/** @returns the build, over @throws base/aborted when the pusher has gone, or his time is up */
async function buildPush(
  options: PushHandlersOptions,
  app: App,
  push: Push,
  update: PushedRef,
): Promise<Build> {
  const { state, builder, logs, onBuildFailure } = options;
  const { build, isOurs } = await findOrQueue(options, app, push, update);
  if (isOurs && onBuildFailure === "accept" && (await state.builds.supersede(build)) > 0)
    await print(push, "-----> Builds of earlier pushes that had not begun are left out\n");
  builder.poke();
  await tellOfOthers(state, app, build, push);
  const terminal = createTerminalText({ keepsColours: push.isTerminal });
  await logs.follow({
    id: build.id,
    path: state.directories.logOf(build.id),
    slows: true,
    signal: push.signal,
    isOver: async () => {
      const now = await state.builds.find(build.id);
      return now === undefined || !isOpen(now.status);
    },
    print: async (bytes) => {
      const text = terminal.add(bytes);
      if (text !== "") await print(push, text);
    },
  });
  if (push.signal.aborted) {
    // What has begun goes on. What has not, nobody waits for.
    if (isOurs && onBuildFailure === "refuse") await builder.cancelWaiting(build.id, LEFT);
    if (onBuildFailure === "accept") options.releaseLater(app, build);
    throw abortedError(push.signal);
  }
  const rest = terminal.end();
  if (rest !== "") await print(push, rest);
  const ended = await state.builds.find(build.id);
  // This one is still there, and wants the same.
  if (!isOurs && ended?.status === "cancelled" && ended.reason === LEFT)
    return buildPush(options, app, push, update);
  return ended ?? { ...build, status: "cancelled", reason: "its app is gone" };
}

async function findOrQueue(
  { state, way, leaseMs }: PushHandlersOptions,
  app: App,
  push: Push,
  update: PushedRef,
): Promise<{ readonly build: Build; readonly isOurs: boolean }> {
  const { builds, directories } = state;
  const short = update.newOid.slice(0, 7);
  const config = digestOfConfig(await state.apps.config(app.id));
  const before = await builds.latest(app.id, update.newOid);
  if (before !== undefined && (await isOfUse(state, way, before, config))) {
    const how = isOpen(before.status) ? "is being built" : "has been built";
    await print(push, `-----> ${short} ${how} already: this is what it prints\n`);
    return { build: before, isOurs: false };
  }
  const id = randomUUID();
  try {
    const skipped = await way.keep({ push, update, app }, directories.sourceOf(id));
    if (skipped.length > 0) {
      const names = skipped.slice(0, NAMES_MAX).join(", ");
      const more = skipped.length > NAMES_MAX ? " and more" : "";
      await print(push, ` !     Left out, being submodules or links that lead out of it: ${names}${more}\n`);
    }
    const { build, isNew } = await builds.enqueue({
      id,
      app: app.id,
      commit: update.newOid,
      refName: update.name,
      place: directories.place,
      configDigest: config,
      createdBy: push.identity.user ?? "",
      leaseMs,
    });
    if (isNew) return { build, isOurs: true };
    await directories.removeBuild(id);
    return { build, isOurs: false };
  } catch (error) {
    await directories.removeBuild(id);
    throw error;
  }
}

/** One that is not over; or that succeeded, and is what runs, or whose push did not get as far as its release. */
async function isOfUse(
  state: DeployState,
  way: BuildWay,
  build: Build,
  configDigest: string,
): Promise<boolean> {
  if (isOpen(build.status)) return true;
  const { product } = build;
  if (product === undefined || build.configDigest !== configDigest) return false;
  const release = await state.releases.ofBuild(build.id);
  // One that runs is what is wanted. Who goes back to one that ran, or that did not come up, wants it anew.
  if (release !== undefined && release.status !== "created" && release.status !== "current") return false;
  // Nor is one released that is older than what runs.
  if (release?.status !== "current" && (await isOvertaken(state, build))) return false;
  return way.isKept(build, product);
}

async function tellOfOthers(state: DeployState, app: App, build: Build, push: Push): Promise<void> {
  if (build.status !== "queued") return;
  const others = await state.builds.before(build);
  if (others.length === 0) {
    const now = await state.builds.find(build.id);
    if (now?.status === "queued") await print(push, "-----> Waiting for a place to build\n");
    return;
  }
  const first = others[0] as Build;
  const who = first.createdBy === "" ? "" : ` of ${first.createdBy}`;
  await print(
    push,
    ` !     Another push${who} to ${app.name} is being built (${first.commit.slice(0, 7)}).\n` +
      ` !     Yours waits for its turn: ${others.length} before it.\n`,
  );
}
