/**
 * Push to deploy as a whole: builds, what they release, and the apps that run, for one Git server. Each part stands by
 * itself (`openDeploy`, `openApps`); here they know of each other.
 */
import { resolve } from "node:path";
import type { PushHandlers } from "../engine/push.js";
import type { RepositoryStore } from "../storage/contracts/repository.js";
import { type Deploy, type DeployOptions, openDeploy } from "./deploy.js";
import type { ExecutionLimits } from "./executors/executor.js";
import { runRelease } from "./executors/run-release.js";
import { type Apps, type AppsOptions, openApps } from "./launch/open-apps.js";
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
  /** These are made when they are missing: each is built from the branch `main` of the repository of its name. @default none */
  readonly apps?: readonly string[];
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
  readonly handlers: PushHandlers;
  readonly frontFor: Apps["frontFor"];
  /**
   * Starts what ran when the server was stopped, and goes on with what was pushed and not released.
   * @param urlOf what pushers read at the end. @default nothing
   */
  start(urlOf?: (app: string) => string): Promise<void>;
  /** After the Git server: ends builds, which the next start goes on with, and the apps. */
  close(): Promise<void>;
}

/** @throws server/bad-configuration, database/unavailable */
export async function openDeployment(options: DeploymentOptions): Promise<Deployment> {
  const { executor, buildLimits, processLimits, log = logToStandardError } = options;
  const directory = resolve(options.directory);
  let urlOf: ((app: string) => string) | undefined;
  const deploy = await openDeploy({
    ...options,
    directory,
    ...(buildLimits === undefined ? {} : { limits: buildLimits }),
    log: (message, error) => log({ level: "warn", message, error }),
    async launch({ release, app, signal }) {
      await apps.launcher.launch(release, { formation: app.formation, signal });
      return urlOf === undefined ? {} : { url: urlOf(app.name) };
    },
  });
  const apps = openApps({
    ...options,
    log,
    directory: `${directory}/running`,
    records: createLaunchRecords(deploy.state),
    async followBuild(app, signal, onOutput) {
      const print = async (text: string): Promise<void> => onOutput(Buffer.from(text));
      return (await deploy.follow(app, { print, signal }))?.status;
    },
    runner: {
      run: ({ limits: _limits, ...run }) =>
        runRelease(executor, { ...run, ...(processLimits === undefined ? {} : { limits: processLimits }) }),
    },
  });
  for (const name of options.apps ?? [])
    if ((await deploy.state.apps.find(name)) === undefined) await deploy.state.createApp({ name });
  return {
    deploy,
    apps,
    handlers: deploy.handlers,
    frontFor: apps.frontFor,
    async start(given) {
      urlOf = given;
      await apps.start();
      await deploy.recover();
    },
    async close() {
      await apps.close();
      await deploy.close();
    },
  };
}

function logToStandardError({ level, message, error }: Parameters<AppsOptions["log"]>[0]): void {
  if (level === "info") return;
  const why = error instanceof Error ? `: ${error.message}` : "";
  process.stderr.write(`deploy: ${message}${why}\n`);
}
