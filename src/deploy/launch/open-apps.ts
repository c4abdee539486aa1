/**
 * Apps as a whole: what launches them, the way in for their callers, and the commands of operators, begun and ended in
 * order. For the composition root, which brings the durable state and an executor.
 */
import {
  type AppControl,
  createAppControl,
  type FollowBuild,
  type IsElsewhere,
  launchAndSettle,
} from "./app-control.js";
import { type AppFront, createAppFront, type AppFrontOptions } from "./app-front.js";
import type { BuildControl } from "./build-control.js";
import { type AppHostsOptions, createAppHosts } from "./app-hosts.js";
import { type ControlServer, listenForOperators } from "./control-server.js";
import type { LaunchRecords, LaunchRelease } from "./launch-release.js";
import { createLauncher, type Launcher, type LauncherOptions } from "./launcher.js";

export interface AppsOptions
  extends LauncherOptions,
    AppHostsOptions,
    Pick<AppFrontOptions, "times" | "requestsMax"> {
  readonly records: LaunchRecords;
  /** Where commands of operators are taken: `controlSocketOf`. @default nowhere */
  readonly controlSocket?: string;
  /** For `gitwharf logs --build`. @default nothing is ever built */
  readonly followBuild?: FollowBuild;
  /** For `gitwharf apps` and `gitwharf builds`. @default they are refused */
  readonly builds?: BuildControl;
  /** Of the releases that another platform launches: they are not started here. @default none */
  readonly isElsewhere?: IsElsewhere;
}

export interface Apps {
  readonly launcher: Launcher;
  /** For the listener that serves Git: `createGitServer({ front: apps.frontFor })`. */
  frontFor(host: Pick<AppFrontOptions, "peerAddressOf" | "isTrustedProxy">): AppFront;
  readonly control: AppControl;
  /**
   * Starts what ran when the server was stopped, and takes commands. An app that does not start is told to the log and does
   * not keep the others. @throws server/bad-configuration: the socket cannot be used
   */
  start(): Promise<void>;
  /** Once nobody's requests are at work any more: ends every process. */
  close(): Promise<void>;
}

/** Apps that are started at the same time. */
const STARTS_AT_ONCE = 4;

/** @throws server/bad-configuration */
export function openApps(options: AppsOptions): Apps {
  const { records, controlSocket, log, isElsewhere = () => false } = options;
  const appOf = createAppHosts(options);
  const launcher = createLauncher(options);
  const { followBuild, builds } = options;
  const control = createAppControl({ records, launcher, followBuild, builds, isElsewhere });
  let operators: ControlServer | undefined;
  let isClosing = false;

  const currentHere = async (app: string): Promise<LaunchRelease | undefined> => {
    const release = await records.currentRelease(app);
    return isElsewhere(release) ? undefined : release;
  };
  /** What ran before and does not yet; undefined: it is not known so far. */
  let coming: Set<string> | undefined;
  /** Requests may come before `start` is called, or while it looks. */
  const isComing = async (app: string): Promise<boolean> => {
    if (isClosing) return false;
    if (coming !== undefined) return coming.has(app);
    return (await currentHere(app)) !== undefined;
  };

  const restore = async (app: string): Promise<void> => {
    try {
      const release = await currentHere(app);
      if (release === undefined || isClosing) return;
      await launcher.restore(release, await records.formationOf(app));
      coming?.delete(app);
      await launchAndSettle(records, launcher, app, () => records.unfinishedRelease(app));
    } catch (error) {
      if (!isClosing) log({ level: "error", message: `the app '${app}' cannot be started`, error });
    }
  };
  const startAll = async (): Promise<void> => {
    const all = await records.listApps();
    const ran = await Promise.all(
      all.map(async (app) => ((await currentHere(app)) === undefined ? [] : [app])),
    );
    const waiting = ran.flat();
    coming = new Set(waiting);
    const work = async (): Promise<void> => {
      for (let app = waiting.shift(); app !== undefined; app = waiting.shift()) await restore(app);
    };
    await Promise.all(Array.from({ length: STARTS_AT_ONCE }, work));
  };
  return {
    launcher,
    frontFor: (host) =>
      createAppFront({
        peerAddressOf: host.peerAddressOf,
        isTrustedProxy: host.isTrustedProxy,
        appOf,
        launcher,
        isComing,
        log,
        ...(options.times === undefined ? {} : { times: options.times }),
        ...(options.requestsMax === undefined ? {} : { requestsMax: options.requestsMax }),
      }),
    control,
    async start() {
      if (controlSocket !== undefined) {
        operators = await listenForOperators(controlSocket, control, (error) =>
          log({ level: "error", message: "a command for an app failed", error }),
        );
      }
      await startAll();
    },
    async close() {
      isClosing = true;
      // Commands that launch something end with the launcher.
      await Promise.all([operators?.close(), launcher.close()]);
    },
  };
}
