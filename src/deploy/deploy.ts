/**
 * Push to deploy: what a server's pushes call (`handlers`), and what operators ask for. It stands beside a Git server, not
 * in it: the same handlers serve any number of them. docs/deploy.md
 */
import { randomUUID } from "node:crypto";
import { GitwharfError, invariant, throwIfAborted } from "../base/errors.js";
import type { App } from "../database/app-store.js";
import { type Build, isOpen } from "../database/build-store.js";
import { openDatabase, parseDatabaseLocation } from "../database/open-database.js";
import type { PushHandlers } from "../engine/push.js";
import { isObjectId } from "../object/object-id.js";
import { sanitizeText } from "../protocol/wire/sanitize.js";
import type { RepositoryStore } from "../storage/contracts/repository.js";
import { createBuildLogs } from "./build/build-log.js";
import { createBuildpackSources, type NamedBuildpack } from "./build/buildpack-source.js";
import { createBuilder, type EndedBuild } from "./build/builder.js";
import { type BuildHereOptions, createBuildsHere } from "./build/build-here.js";
import { type BuildsInDynosOptions, createBuildsInDynos } from "./build/build-in-dyno.js";
import type { BuildWay } from "./build/build-way.js";
import { createDeployHandlers } from "./build/push-handlers.js";
import { createReleaseBuilds, type EndedRelease, type Launch } from "./build/release-builds.js";
import { createTerminalText } from "./build/terminal-text.js";
import { checkPassable } from "./executors/check-passable.js";
import type { DynoExecutor } from "./executors/dyno-executor.js";
import { DEFAULT_EXECUTION_LIMITS, type ExecutionLimits, type Executor } from "./executors/executor.js";
import { type DeployState, digestOfConfig, openDeployState } from "./state/deploy-state.js";

export interface DeployOptions {
  /** `sqlite:PATH`, `postgres://…`; the one of users and keys will do. */
  readonly database: string;
  /** For slugs, caches and builds. Programs of builds pass through it: those above it must let them. */
  readonly directory: string;
  /** A dyno's builds whole and launches: what is said of buildpacks, network, stack and path is not for it. */
  readonly executor: Executor | DynoExecutor;
  /** Asked in this order whether they take what was pushed. */
  readonly buildpacks?: readonly NamedBuildpack[];
  /** Patterns of what BUILDPACK_URL may be: `https://github.com/heroku/*`. @default none */
  readonly allowedBuildpacks?: readonly string[];
  /** Do builds get the network? "when-asked": those whose gitwharf.yml says `network: true`. @default false */
  readonly network?: boolean | "when-asked";
  readonly limits?: Partial<ExecutionLimits>;
  /** What buildpacks find in STACK. @default "heroku-24" */
  readonly stack?: string;
  /** PATH of builds. @default the usual one in a sandbox or container, the server's for plain processes */
  readonly path?: string;
  /** "accept": the ref moves first; a build that fails leaves a release that has failed. @default "refuse" */
  readonly onBuildFailure?: "refuse" | "accept";
  /** Builds at once in this process. @default 2 */
  readonly concurrencyMax?: number;
  /** For one push: waiting, building and launching together. @default 3,600,000 */
  readonly pushTimeoutMs?: number;
  /** After so long without a word a builder is dead, and the next one begins. @default 30,000 */
  readonly leaseMs?: number;
  /** How often a build is begun whose builders die. @default 3 */
  readonly claimsMax?: number;
  /** Of each app, whose slugs stay. @default 20 */
  readonly releasesKept?: number;
  /** Of each app, whose output stays. @default 50 */
  readonly buildsKept?: number;
  /** Starts a release. @default a release is current as soon as it is made */
  readonly launch?: Launch;
  /** Where retried builds take their files from, and by which `recover` sees what was pushed. The dyno needs it. */
  readonly repositories?: RepositoryStore;
  /** Is told what has ended: for metrics, for an audit log. It returns at once and does not throw. */
  readonly observer?: DeployObserver;
  /** @default a line on standard error */
  readonly log?: (text: string, error?: unknown) => void;
}

export interface DeployObserver {
  /** A build of this process. */
  readonly built?: (ended: EndedBuild & { readonly app: string }) => void;
  /** A release that a push or a retried build has made. */
  readonly released?: (ended: EndedRelease) => void;
}

export interface Deploy {
  readonly state: DeployState;
  /** For `createGitServer({ handlers })`. */
  readonly handlers: PushHandlers;
  /**
   * The output of a build, from its beginning, until it is over.
   * @param buildId @default the app's one at work, else its last one
   * @returns that build; undefined: there is none
   */
  follow(
    app: string,
    options: {
      readonly buildId?: string;
      readonly print: (text: string) => Promise<void> | void;
      readonly signal?: AbortSignal;
    },
  ): Promise<Build | undefined>;
  /** @returns false when it is over already */
  cancel(buildId: string): Promise<boolean>;
  /**
   * Builds a commit once more, without a push, and releases it.
   * @param commit whole, or the beginning of one that was built; it has to be in the repository @default what the app's branch is at
   * @throws storage/not-found
   */
  rebuild(
    app: string,
    options?: {
      readonly commit?: string;
      readonly by?: string;
      readonly print?: (text: string) => Promise<void>;
      readonly signal?: AbortSignal;
    },
  ): Promise<Build>;
  /** After a crash: releases what was built and pushed, and got no further. Needs `repositories`. */
  recover(): Promise<void>;
  /** Ends what is being built; the next start goes on with it. Idempotent. */
  close(): Promise<void>;
}

const SANDBOX_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const BUILDS_LOOKED_AT = 20;

/** @throws server/bad-configuration, database/unavailable */
export async function openDeploy(options: DeployOptions): Promise<Deploy> {
  const { executor, repositories, onBuildFailure = "refuse", leaseMs = 30_000 } = options;
  const { log = defaultLog } = options;
  const buildpacks = createBuildpackSources({
    named: options.buildpacks ?? [],
    allowed: options.allowedBuildpacks ?? [],
  });
  if (executor.name !== "dyno") {
    // Containers get their directories from whoever starts them.
    if (executor.name === "sandbox" && executor.user !== undefined)
      await checkPassable(options.directory, executor.user);
    await executor.check();
    await executor.tidy();
  } else if (repositories === undefined) {
    throw new GitwharfError(
      "server/bad-configuration",
      "builds in dynos need `repositories`: what is pushed is pushed on from there",
    );
  }
  const database = await openDatabase(parseDatabaseLocation(options.database));
  const state = await openDeployState(database, options.directory).catch(async (error: unknown) => {
    await database.close();
    throw error;
  });
  const logs = createBuildLogs();
  const retention = { releases: options.releasesKept ?? 20, builds: options.buildsKept ?? 50 };
  const way = wayOf(options, { state, buildpacks, log });
  const builder = createBuilder({
    state,
    logs,
    way,
    concurrencyMax: options.concurrencyMax ?? 2,
    leaseMs,
    claimsMax: options.claimsMax ?? 3,
    retention,
    onEnded(ended) {
      if (options.observer?.built === undefined) return;
      const { built } = options.observer;
      state.apps
        .findById(ended.build.app)
        .then((app) => built({ ...ended, app: app?.name ?? "" }))
        .catch((error: unknown) => log(`the build ${ended.build.id} cannot be told of`, error));
    },
    log,
  });
  const releases = createReleaseBuilds({
    state,
    ...(options.launch === undefined ? {} : { launch: options.launch }),
    retention,
    onEnded: (ended) => options.observer?.released?.(ended),
    log,
  });
  const closing = new AbortController();
  const appCalled = async (name: string): Promise<App> => {
    const app = await state.apps.find(name);
    if (app === undefined) throw new GitwharfError("storage/not-found", `there is no app called ${name}`);
    return app;
  };
  const followBuild = async (
    build: Build,
    print: (text: string) => Promise<void> | void,
    signal: AbortSignal,
  ): Promise<Build> => {
    const terminal = createTerminalText();
    await logs.follow({
      id: build.id,
      path: state.directories.logOf(build.id),
      slows: false,
      signal,
      isOver: async () => {
        const now = await state.builds.find(build.id);
        return now === undefined || !isOpen(now.status);
      },
      print: (bytes) => print(sanitizeText(terminal.add(bytes))),
    });
    throwIfAborted(signal);
    await print(sanitizeText(terminal.end()));
    return (await state.builds.find(build.id)) ?? build;
  };
  /** Of builds whose pushers, or operators, are not there any more, by their ids. */
  const later = new Map<string, Promise<void>>();
  const releaseLater = (app: App, build: Build): void => {
    if (closing.signal.aborted || later.has(build.id)) return;
    const nobody = async (): Promise<void> => undefined;
    const work = async (): Promise<void> => {
      try {
        const ended = await followBuild(build, nobody, closing.signal);
        if (ended.status === "succeeded" || (ended.status === "failed" && onBuildFailure === "accept"))
          await releases.release(app, ended, nobody, closing.signal);
      } catch (error) {
        if (!closing.signal.aborted) log(`what was pushed to ${app.name} cannot be released`, error);
      } finally {
        later.delete(build.id);
      }
    };
    later.set(build.id, work());
  };
  let closed: Promise<void> | undefined;
  return {
    state,
    handlers: createDeployHandlers({
      state,
      builder,
      way,
      logs,
      releases,
      onBuildFailure,
      releaseLater,
      timeoutMs: options.pushTimeoutMs ?? 3_600_000,
      leaseMs,
    }),
    async follow(name, { buildId, print, signal = closing.signal }) {
      const app = await appCalled(name);
      const found = await (buildId === undefined ? shownOf(state, app) : state.builds.find(buildId));
      if (found === undefined || found.app !== app.id) return undefined;
      return followBuild(found, print, signal);
    },
    cancel: (buildId) => builder.cancel(buildId, "it was cancelled"),
    async rebuild(name, { commit, by = "", print = async () => undefined, signal = closing.signal } = {}) {
      const app = await appCalled(name);
      const oid = await commitMeant(state, repositories, app, commit);
      const { directories } = state;
      const id = randomUUID();
      let build: Build;
      try {
        await keepCommit({ way, repositories, app, commit: oid, signal }, directories.sourceOf(id));
        const queued = await state.builds.enqueue({
          id,
          app: app.id,
          commit: oid,
          refName: `refs/heads/${app.branch}`,
          place: directories.place,
          configDigest: digestOfConfig(await state.apps.config(app.id)),
          createdBy: by,
          leaseMs,
        });
        build = queued.build;
        if (!queued.isNew) await directories.removeBuild(id);
      } catch (error) {
        await directories.removeBuild(id);
        throw error;
      }
      builder.poke();
      let ended: Build;
      try {
        ended = await followBuild(build, print, signal);
      } catch (error) {
        // Who asked for it has gone; what he asked for goes on.
        releaseLater(app, build);
        throw error;
      }
      if (ended.status === "succeeded") await releases.release(app, ended, print, signal);
      return ended;
    },
    async recover() {
      if (repositories === undefined) return;
      for (const app of await state.apps.list()) {
        try {
          const tip = await refOf(repositories, app);
          const build = (await state.builds.list(app.id, BUILDS_LOOKED_AT)).find(
            ({ commit, status, place }) =>
              commit === tip &&
              (status === "succeeded" ||
                (isOpen(status) && onBuildFailure === "accept" && place === state.directories.place)),
          );
          if (build === undefined) continue;
          if (isOpen(build.status)) {
            releaseLater(app, build);
            continue;
          }
          const release = await state.releases.ofBuild(build.id);
          if (release !== undefined && release.status !== "created") continue;
          await releases.release(app, build, async () => undefined, closing.signal);
        } catch (error) {
          log(`what was pushed to ${app.name} cannot be released`, error);
        }
      }
    },
    close() {
      return (closed ??= (async () => {
        closing.abort();
        await builder.close();
        await Promise.all(later.values());
        await database.close();
      })());
    },
  };
}

async function shownOf({ builds }: DeployState, app: App): Promise<Build | undefined> {
  const all = await builds.list(app.id, BUILDS_LOOKED_AT);
  return all.find(({ status }) => status === "running") ?? all[0];
}

/** @throws storage/not-found */
async function commitMeant(
  state: DeployState,
  repositories: RepositoryStore | undefined,
  app: App,
  given: string | undefined,
): Promise<string> {
  if (given === undefined) {
    const tip = await refOf(repositories, app);
    if (tip !== undefined) return tip;
    throw new GitwharfError("storage/not-found", `${app.repository} has no branch ${app.branch} to build`);
  }
  if (isObjectId(given, "sha1") || isObjectId(given, "sha256")) return given;
  const built = await state.builds.list(app.id, BUILDS_LOOKED_AT);
  const meant = new Set(built.map(({ commit }) => commit).filter((commit) => commit.startsWith(given)));
  const [one] = meant;
  if (one !== undefined && meant.size === 1) return one;
  const why = one === undefined ? "no build of it has a commit" : "builds of it have several commits";
  throw new GitwharfError("storage/not-found", `${app.name}: ${why} that begins with ${given}`);
}

/** What the app's branch names; undefined: there is none. */
async function refOf(repositories: RepositoryStore | undefined, app: App): Promise<string | undefined> {
  const repository = await repositories?.open(app.repository);
  if (repository === undefined) return undefined;
  try {
    return (await repository.refs.snapshot()).get(`refs/heads/${app.branch}`)?.oid;
  } finally {
    await repository.close();
  }
}

/** @throws storage/not-found */
async function keepCommit(
  about: {
    readonly way: BuildWay;
    readonly repositories: RepositoryStore | undefined;
    readonly app: App;
    readonly commit: string;
    readonly signal: AbortSignal;
  },
  directory: string,
): Promise<void> {
  const { way, app, commit, signal } = about;
  const repository = await about.repositories?.open(app.repository);
  if (repository === undefined) {
    throw new GitwharfError(
      "storage/not-found",
      `the repository ${app.repository} of ${app.name} cannot be found from here`,
    );
  }
  try {
    await way.keepCommit({ repository, commit, app, signal }, directory);
  } finally {
    await repository.close();
  }
}

function wayOf(
  options: DeployOptions,
  about: Pick<BuildHereOptions, "state" | "buildpacks"> & Pick<BuildsInDynosOptions, "log">,
): BuildWay {
  const { executor, repositories } = options;
  const limits = { ...DEFAULT_EXECUTION_LIMITS, ...options.limits };
  if (executor.name === "dyno") {
    invariant(repositories !== undefined, "it was looked for before");
    const { onBuildFailure = "refuse" } = options;
    return createBuildsInDynos({ ...about, executor, repositories, limits, onBuildFailure });
  }
  return createBuildsHere({
    ...about,
    executor,
    limits,
    network: options.network ?? false,
    stack: options.stack ?? "heroku-24",
    path: options.path ?? (executor.isIsolating ? SANDBOX_PATH : (process.env["PATH"] ?? SANDBOX_PATH)),
  });
}

function defaultLog(text: string, error?: unknown): void {
  const why = error instanceof Error ? `: ${error.message}` : "";
  process.stderr.write(`deploy: ${text}${why}\n`);
}
