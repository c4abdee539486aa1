/**
 * Push to deploy as a whole: builds, what they release, and the apps that run, for one Git server. Each part stands by
 * itself (`openDeploy`, `openApps`); here they know of each other.
 *
 *     const deployment = await openDeployment({ repositories, database, directory, executor: createSandboxExecutor(), newApps: "declared" });
 *     const git = createGitServer({ repositories, handlers: deployment.handlers, front: deployment.frontFor });
 *     const { http } = await git.listen({ http: 5000 });
 *     await deployment.start((app) => `http://${app}.localhost:${http.port}`);
 */
import { resolve } from "node:path";
import type { App } from "../database/app-store.js";
import type { PushHandlers } from "../engine/push.js";
import { checkRefName } from "../object/ref-name.js";
import { GitwharfError } from "../base/errors.js";
import type { RepositoryStore } from "../storage/contracts/repository.js";
import { type Deploy, type DeployObserver, type DeployOptions, openDeploy } from "./deploy.js";
import { createDeployControl } from "./deploy-control.js";
import { createDeployMetrics } from "./deploy-metrics.js";
import type { DynoExecutor } from "./executors/dyno-executor.js";
import type { ExecutionLimits, Executor } from "./executors/executor.js";
import { runRelease } from "./executors/run-release.js";
import { type Apps, type AppsOptions, openApps } from "./launch/open-apps.js";
import type { ProcessRunner } from "./launch/process-runner.js";
import { createNewAppHandlers, type NewApps } from "./new-apps.js";
import { isElsewhere } from "./state/elsewhere.js";
import { createLaunchRecords } from "./state/launch-records.js";

export interface DeploymentOptions
  extends Omit<DeployOptions, "launch" | "repositories" | "limits" | "log">,
    Pick<
      AppsOptions,
      | "domain"
      | "hosts"
      | "health"
      | "drainMs"
      | "environment"
      | "times"
      | "requestsMax"
      | "controlSocket"
      | "logs"
    > {
  readonly repositories: RepositoryStore;
  /** These are made when they are missing: each is built from `branch` of the repository of its name. @default none */
  readonly apps?: readonly string[];
  /**
   * Which repositories become apps with the first push of `branch`: "declared", those that have a `gitwharf.yml` or a
   * `Procfile`; "always", all; "never", none but those of `apps` and of `gitwharf apps create`.
   * @default "never"
   */
  readonly newApps?: NewApps;
  /** What is built of an app of which nobody says another branch. @default "main" */
  readonly branch?: string;
  /** Of builds. */
  readonly buildLimits?: Partial<ExecutionLimits>;
  /** Of the processes that run. */
  readonly processLimits?: Partial<ExecutionLimits>;
  /** @default a line on standard error, without those of level "info" */
  readonly log?: AppsOptions["log"];
}

export interface Deployment {
  readonly deploy: Deploy;
  readonly apps: Apps;
  /** For `createGitServer({ handlers, front })`. */
  readonly handlers: readonly PushHandlers[];
  readonly frontFor: Apps["frontFor"];
  /**
   * Starts what ran when the server was stopped, and goes on with what was pushed and not released.
   * @param urlOf what pushers read at the end. @default nothing
   */
  start(urlOf?: (app: string) => string): Promise<void>;
  /** For `createGitServer({ furtherMetrics })`: builds, releases and processes in Prometheus's text format. */
  metrics(): Promise<string>;
  /** After the Git server: ends builds, which the next start goes on with, and the apps. Idempotent. */
  close(): Promise<void>;
}

/** @throws server/bad-configuration, database/unavailable */
export async function openDeployment(options: DeploymentOptions): Promise<Deployment> {
  const { executor, buildLimits, processLimits, observer, branch = "main" } = options;
  const { log = logToStandardError } = options;
  const wrongBranch = checkRefName(`refs/heads/${branch}`);
  if (wrongBranch !== undefined)
    throw new GitwharfError("server/bad-configuration", `'${branch}' cannot be a branch: ${wrongBranch}`);
  const directory = resolve(options.directory);
  let urlOf: ((app: string) => string) | undefined;
  let apps: Apps;
  const metrics = createDeployMetrics({
    openBuilds: () => deploy.state.builds.countOpen(),
    processes: async () =>
      (await deploy.state.apps.list()).flatMap(({ name }) => apps.launcher.processes(name) ?? []),
  });
  const deploy: Deploy = await openDeploy({
    ...options,
    directory,
    ...(buildLimits === undefined ? {} : { limits: buildLimits }),
    log: (message, error) => log({ level: "warn", message, error }),
    observer: both(metrics, observer),
    async launch({ release, app, signal, onLaunched }) {
      const formation = async (): Promise<App["formation"]> => {
        const now = await deploy.state.apps.findById(app.id);
        if (now !== undefined) return now.formation;
        throw new GitwharfError("storage/not-found", `the app ${app.name} has been removed`);
      };
      await apps.launcher.launch(release, { formation, signal, onLaunched });
      return urlOf === undefined ? {} : { url: urlOf(app.name) };
    },
  });
  const open = (): Apps =>
    openApps({
      ...options,
      log,
      directory: `${directory}/running`,
      records: createLaunchRecords(deploy.state),
      async followBuild(app, signal, onOutput) {
        const print = async (text: string): Promise<void> => onOutput(Buffer.from(text));
        return (await deploy.follow(app, { print, signal }))?.status;
      },
      builds: createDeployControl({
        deploy,
        launcher: () => apps.launcher,
        branch,
        isElsewhere: executor.name === "dyno",
      }),
      isElsewhere: (release) => executor.name === "dyno" || (release !== undefined && isElsewhere(release)),
      runner: runnerOf(executor, processLimits),
    });
  try {
    apps = open();
    for (const name of options.apps ?? [])
      if ((await deploy.state.apps.find(name)) === undefined) await deploy.state.createApp({ name, branch });
  } catch (error) {
    await deploy.close();
    throw error;
  }
  return {
    deploy,
    apps,
    handlers: [
      createNewAppHandlers({ state: deploy.state, newApps: options.newApps ?? "never", branch }),
      deploy.handlers,
    ],
    frontFor: apps.frontFor,
    async start(given) {
      urlOf = given;
      await apps.start();
      await deploy.recover();
    },
    metrics: () => metrics.text(),
    async close() {
      await apps.close();
      await deploy.close();
    },
  };
}

function runnerOf(
  executor: Executor | DynoExecutor,
  processLimits: Partial<ExecutionLimits> | undefined,
): ProcessRunner {
  if (executor.name === "dyno")
    return { run: async () => ({ status: undefined, ended: "nothing runs here: dynos do" }) };
  return {
    run: ({ limits: _limits, ...run }) =>
      runRelease(executor, { ...run, ...(processLimits === undefined ? {} : { limits: processLimits }) }),
  };
}

function both(metrics: Required<DeployObserver>, observer: DeployObserver = {}): DeployObserver {
  return {
    built(ended) {
      metrics.built(ended);
      observer.built?.(ended);
    },
    released(ended) {
      metrics.released(ended);
      observer.released?.(ended);
    },
  };
}

function logToStandardError({ level, message, error }: Parameters<AppsOptions["log"]>[0]): void {
  if (level === "info") return;
  const why = error instanceof Error ? `: ${error.message}` : "";
  process.stderr.write(`deploy: ${message}${why}\n`);
}
