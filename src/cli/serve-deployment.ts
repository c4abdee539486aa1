/** Push to deploy in `gitwharf serve`: what the configuration asks for, opened beside the server. */
import { join, resolve } from "node:path";
import { GitwharfError, isGitwharfError } from "../base/errors.js";
import type { Deployment } from "../deploy/deployment.js";
import type { DynoExecutor } from "../deploy/executors/dyno-executor.js";
import type { Executor } from "../deploy/executors/executor.js";
import { appsDirectoryOf, controlSocketOf } from "../deploy/launch/places.js";
import { DECLARING_FILES } from "../deploy/new-apps.js";
import type { GitServer } from "../server/git-server.js";
import type { GitServerOptions } from "../server/git-server-options.js";
import type { RepositoryStore } from "../storage/contracts/repository.js";
import { createDiskRepositoryStore } from "../storage/disk/disk-repository-store.js";
import type { ServiceLogEntry } from "../transport/service-host.js";
import type { DeployConfiguration } from "./deploy-configuration.js";
import { dynoFromEnvironment } from "./openruko-environment.js";

export interface ServedDeployment {
  /** What `createGitServer` is to be given, with what it was given before. */
  readonly options: Pick<GitServerOptions, "handlers" | "front" | "furtherMetrics">;
  /** Once the server listens. @param url of its HTTP listener */
  start(server: GitServer, url: string): Promise<readonly string[]>;
  /** After the server. Idempotent. */
  close(): Promise<void>;
}

export interface ServedDeploymentOptions {
  readonly configuration: DeployConfiguration;
  readonly server: GitServerOptions;
  readonly log: (entry: ServiceLogEntry) => void;
}

/** @throws server/bad-configuration, database/unavailable */
export async function openServedDeployment(given: ServedDeploymentOptions): Promise<ServedDeployment> {
  const { configuration, server: served, log } = given;
  const {
    executor: _e,
    sandbox: _s,
    container: _c,
    dyno: _d,
    url,
    newApps = "declared",
    ...options
  } = configuration;
  const base = baseOf(configuration, served.repositories);
  const database = options.database ?? served.database;
  if (database === undefined)
    throw wrong("deploy.database is missing: sqlite:PATH or postgres://USER@HOST/NAME");
  // Who does without apps does without what launches them.
  const { openDeployment } = await import("../deploy/deployment.js");
  const chosen = await executorOf(configuration, log);
  // Of its own: the server's is made with the server, which is made with these handlers.
  const store: RepositoryStore =
    typeof served.repositories === "string"
      ? createDiskRepositoryStore({ directory: served.repositories, durability: served.durability ?? "sync" })
      : served.repositories;
  const closeStore = async (): Promise<void> => {
    if (store !== served.repositories) await store.close();
  };
  let server: GitServer | undefined;
  let deployment: Deployment;
  try {
    deployment = await openDeployment({
      ...options,
      database,
      newApps,
      executor: chosen,
      repositories: store,
      directory: resolve(options.directory ?? join(base, ".gitwharf-deploy")),
      controlSocket: controlSocketOf(base),
      logs: appsDirectoryOf(base),
      log,
      observer: {
        built: ({ app, build, status, reason }) =>
          server?.audit({
            event: "build",
            outcome: status === "succeeded" ? "ok" : status,
            reason: reason === "" ? undefined : reason,
            user: build.createdBy === "" ? undefined : build.createdBy,
            details: { app, commit: build.commit, build: build.id },
          }),
        released: ({ release, outcome, reason }) =>
          server?.audit({
            event: "release",
            outcome: outcome === "launched" ? "ok" : outcome,
            reason: reason === "" ? undefined : reason,
            user: release.createdBy === "" ? undefined : release.createdBy,
            details: { app: release.app, commit: release.commit, release: `v${release.number}` },
          }),
      },
    });
  } catch (error) {
    await closeStore();
    throw explained(error, configuration);
  }
  let closed: Promise<void> | undefined;
  return {
    options: {
      handlers: [...[served.handlers ?? []].flat(), ...deployment.handlers],
      front: frontsOf(deployment.frontFor, served.front),
      furtherMetrics: async () => `${(await served.furtherMetrics?.()) ?? ""}${await deployment.metrics()}`,
    },
    async start(listening, listenedUrl) {
      server = listening;
      const pattern = url ?? urlPatternOf(listenedUrl, options.domain);
      await deployment.start((app) => pattern.replaceAll("APP", app));
      return bannerOf({ newApps, options, executor: chosen, pattern });
    },
    close: () =>
      (closed ??= (async () => {
        await deployment.close();
        await closeStore();
      })()),
  };
}

function bannerOf(about: {
  readonly newApps: NonNullable<DeployConfiguration["newApps"]>;
  readonly options: Pick<DeployConfiguration, "branch" | "apps" | "onBuildFailure">;
  readonly executor: Executor | DynoExecutor;
  readonly pattern: string;
}): readonly string[] {
  const { newApps, options, executor, pattern } = about;
  const { branch = "main", apps = [], onBuildFailure } = options;
  const whose = {
    declared: `of a repository with ${DECLARING_FILES.join(" or ")}`,
    always: "of any repository",
    never: apps.length > 0 ? `of ${apps.join(", ")}` : "of an app of `gitwharf apps create`",
  }[newApps];
  return [
    `a push to ${branch} ${whose} is deployed: ${whereOf(executor, pattern)}`,
    ...(onBuildFailure === "accept" ? ["a build that fails does not refuse its push"] : []),
  ];
}

function whereOf(executor: Executor | DynoExecutor, pattern: string): string {
  if (executor.name === "dyno") return `built and launched by the dynos of ${executor.apiServerUrl}`;
  const where = {
    sandbox: "in a sandbox",
    container: "in a container",
    plain: "as plain processes of this user",
  }[executor.name];
  return `built ${where}, served on ${pattern}`;
}

/** Where the socket of commands, the logs and, unless it is said, the rest is. */
function baseOf({ directory }: DeployConfiguration, repositories: GitServerOptions["repositories"]): string {
  if (typeof repositories === "string") return repositories;
  if (directory === undefined)
    throw wrong(
      "deploy.directory is missing: with a repository store nobody knows where to keep what is built",
    );
  return resolve(directory);
}

async function executorOf(
  { executor = "sandbox", sandbox, container, dyno }: DeployConfiguration,
  log: (entry: ServiceLogEntry) => void,
): Promise<Executor | DynoExecutor> {
  if (typeof executor !== "string") return executor;
  switch (executor) {
    case "sandbox":
      return (await import("../deploy/executors/sandbox-executor.js")).createSandboxExecutor(sandbox);
    case "container":
      if (container === undefined)
        throw wrong(
          "builds in containers need an image: deploy.container in a configuration file (--config)",
        );
      return (await import("../deploy/executors/container-executor.js")).createContainerExecutor(container);
    case "dyno": {
      const { createDynoExecutor } = await import("../deploy/executors/dyno-executor.js");
      return createDynoExecutor(dynoFromEnvironment(process.env, dyno));
    }
    case "plain":
      return (await import("../deploy/executors/plain-executor.js")).createPlainExecutor({
        warn: (text) => log({ level: "warn", message: text.replace(/^warning: /, "") }),
      });
  }
}

/** Apps first; the application's own front has the rest. */
function frontsOf(
  frontFor: Deployment["frontFor"],
  other: GitServerOptions["front"],
): NonNullable<GitServerOptions["front"]> {
  if (other === undefined) return frontFor;
  return (host) => {
    const fronts = [frontFor(host), other(host)];
    return {
      request: (request, response) => fronts.some((front) => front.request(request, response)),
      upgrade: (request, socket, head) => fronts.some((front) => front.upgrade(request, socket, head)),
    };
  };
}

function urlPatternOf(listened: string, domain = "localhost"): string {
  const { protocol, port } = new URL(listened);
  return `${protocol}//APP.${domain}${port === "" ? "" : `:${port}`}`;
}

/** The sandbox is what nobody asked for by name. */
function explained(error: unknown, { executor }: DeployConfiguration): unknown {
  if (executor !== undefined || !isGitwharfError(error, "server/bad-configuration")) return error;
  if (!error.message.startsWith("the sandbox cannot be used")) return error;
  return wrong(`${error.message} (--deploy plain: without isolation, for your own pushes)`, error);
}

function wrong(why: string, cause?: unknown): GitwharfError {
  return new GitwharfError("server/bad-configuration", why, cause === undefined ? {} : { cause });
}
