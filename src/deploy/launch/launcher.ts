/**
 * Brings releases to life, one app at a time in order: unpacks the slug, starts its processes, and moves the traffic once
 * they are healthy. A launch that comes to nothing leaves everything as it was.
 */
import { randomBytes } from "node:crypto";
import { chmod, mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { GitwharfError, throwIfAborted } from "../../base/errors.js";
import { isAppName } from "../state/app-rules.js";
import { removeTree } from "../state/deploy-directories.js";
import { type AppLog, createAppLog } from "./app-log.js";
import { checkCount, createFormation, type RunningFormation } from "./formation.js";
import type { HealthCheck } from "./health-check.js";
import { isStaticSite, STATIC_TYPE, WEB_TYPE, type Formation, type LaunchRelease } from "./launch-release.js";
import { createOutputLines, linesOf } from "./output-lines.js";
import type { ProcessEnd, ProcessRunner } from "./process-runner.js";
import { createRequestsAtWork, type RequestsAtWork } from "./requests-at-work.js";
import { environmentOf, startCommand } from "./start-command.js";
import { logDirectoryOf } from "./places.js";
import { openStaticSite, type StaticSite } from "./static-site.js";
import type { ProcessHost, SupervisedProcess } from "./supervised-process.js";
import { type UnpackSlug, unpackSlug } from "./unpack-slug.js";

export interface LauncherOptions {
  /** `APP/releases/` is made here: whoever processes run as has to come through the directories above. */
  readonly directory: string;
  /** `APP/log/` is made here. @default `directory` */
  readonly logs?: string;
  readonly runner: ProcessRunner;
  /** In the executor's words, for every process. */
  readonly limits?: object;
  /** @default a connection to PORT within 60 seconds; the variable HEALTH_PATH of an app makes it an answer to GET */
  readonly health?: HealthCheck;
  /** What every process has in its environment. @default PATH, LANG, LC_ALL and TZ of the server */
  readonly environment?: Readonly<Record<string, string>>;
  /** Requests at work have so long to end when their process goes. @default 30,000 */
  readonly drainMs?: number;
  readonly unpack?: UnpackSlug;
  readonly log: (entry: {
    readonly level: "info" | "warn" | "error";
    readonly message: string;
    readonly error?: unknown;
  }) => void;
  /** For tests. */
  readonly restartDelayMs?: ProcessHost["restartDelayMs"];
}

export interface LaunchOptions {
  /** A function is asked when the launch's turn has come: builds take their time. */
  readonly formation?: Formation | (() => Promise<Formation | undefined>) | undefined;
  readonly signal?: AbortSignal;
  /** It runs; called before another launch of the app begins, so that what is written down last is what runs. */
  readonly onLaunched?: (release: LaunchRelease) => Promise<void>;
}

/** Where requests for an app go. */
export type AppTarget =
  | { readonly kind: "site"; readonly site: StaticSite; readonly requests: RequestsAtWork }
  | { readonly kind: "processes"; readonly processes: () => readonly SupervisedProcess[] };

export interface OneOffRun {
  readonly app: string;
  readonly command: string;
  readonly signal: AbortSignal;
  readonly onOutput: (chunk: Uint8Array) => void | Promise<void>;
}

export interface Launcher {
  /**
   * @throws deploy/launch-failed: the release before it goes on running; storage/io, base/aborted; base/shutting-down: it says
   * nothing of the release, which is to be launched again
   */
  launch(release: LaunchRelease, options?: LaunchOptions): Promise<void>;
  /**
   * The same of a release that is made when its turn has come: of what runs then. Nothing is launched where there is none.
   * @throws the same, and what `make` throws
   */
  launchMade(
    app: string,
    make: () => Promise<LaunchRelease | undefined>,
    options?: LaunchOptions,
  ): Promise<LaunchRelease | undefined>;
  /** What ran before the server was stopped: it is started, and again when it does not come up. */
  restore(release: LaunchRelease, formation: Formation | undefined): Promise<void>;
  /** @throws storage/not-found, protocol/bad-request, deploy/launch-failed */
  scale(app: string, formation: Formation): Promise<void>;
  /** Those that are to run. undefined: nothing was launched. */
  processes(app: string): readonly SupervisedProcess[] | undefined;
  /** undefined: nothing was launched. */
  targetOf(app: string): AppTarget | undefined;
  /** The release that runs. */
  releaseOf(app: string): LaunchRelease | undefined;
  /** A process beside the others, of the release that runs. @throws storage/not-found */
  run(run: OneOffRun): Promise<ProcessEnd>;
  /** Ends an app's processes. */
  stop(app: string): Promise<void>;
  /** The same for ever: its files and its log go, too. */
  remove(app: string): Promise<void>;
  close(): Promise<void>;
}

interface RunningApp {
  formation?: RunningFormation;
  target?: AppTarget;
  /** Requests go elsewhere by now; those that had come are waited for, until the promise settles. */
  readonly leaving: Map<RunningFormation, Promise<void>>;
  readonly log: AppLog;
  /** One-off commands so far, and those at work, which end with the app. */
  runs: number;
  readonly runsAtWork: RequestsAtWork;
  runsEnd: AbortController;
  /** One thing at a time. */
  queue: Promise<unknown>;
}

const TIMER_MS_MAX = 0x7fff_ffff;
/** When the server stops: for one-off commands, which are killed after ten seconds, and readers of static sites. */
const GUESTS_MS = 15_000;

export function createLauncher(options: LauncherOptions): Launcher {
  const { directory, runner, limits, drainMs = 30_000, unpack = unpackSlug, log } = options;
  const environment = options.environment ?? commonEnvironment(process.env);
  const apps = new Map<string, RunningApp>();
  const closing = new AbortController();
  /** Nobody is waited for any more. */
  const late = new AbortController();

  const appOf = (name: string): RunningApp => {
    if (!isAppName(name))
      throw new GitwharfError("storage/bad-name", `'${name.slice(0, 80)}' is no name of an app`);
    let app = apps.get(name);
    if (app === undefined) {
      app = {
        log: createAppLog({
          directory: logDirectoryOf(options.logs ?? directory, name),
          onFailure: (error) =>
            log({ level: "error", message: `the log of the app '${name}' cannot be written`, error }),
        }),
        leaving: new Map(),
        runs: 0,
        runsAtWork: createRequestsAtWork(),
        runsEnd: new AbortController(),
        queue: Promise.resolve(),
      };
      apps.set(name, app);
    }
    return app;
  };
  const inTurn = <T>(app: RunningApp, work: () => Promise<T>): Promise<T> => {
    const done = app.queue.then(work);
    app.queue = done.catch(() => undefined);
    return done;
  };
  const hostFor = (app: RunningApp, release: LaunchRelease): ProcessHost => ({
    runner,
    log: app.log,
    health: { ...options.health, path: healthPathOf(release) ?? options.health?.path },
    environment,
    limits,
    ...(options.restartDelayMs === undefined ? {} : { restartDelayMs: options.restartDelayMs }),
  });
  const untilClosing = (signal: AbortSignal | undefined): AbortSignal =>
    signal === undefined ? closing.signal : AbortSignal.any([signal, closing.signal]);

  /** The processes that are to run, of types that the release has. */
  const formationOf = (release: LaunchRelease, wanted: Formation | undefined): Formation => {
    const known = Object.entries({ [WEB_TYPE]: 1, ...wanted }).filter(
      ([type]) => type !== STATIC_TYPE && Object.hasOwn(release.processTypes, type),
    );
    return Object.fromEntries(known);
  };

  /** From here on requests go to it. */
  const swap = async (app: RunningApp, formation: RunningFormation, target: AppTarget): Promise<void> => {
    const before = app.formation;
    app.formation = formation;
    app.target = target;
    if (before === undefined) return;
    // Two of a kind that work off the same jobs must not run side by side.
    await before.stop("others", 0);
    depart(app, before, drainMs);
  };

  /** In the background: waits for those who are at work there, then ends it and takes its files away. */
  const depart = (app: RunningApp, formation: RunningFormation, forMs: number): void => {
    const { release, directory: files, guests } = formation;
    const leave = async (): Promise<void> => {
      await Promise.all([formation.stop("others", 0), formation.stop("web", forMs)]);
      await guests.idle(TIMER_MS_MAX, late.signal);
      await removeTree(files);
    };
    const left = leave()
      .catch((error: unknown) => {
        const message = `v${release.number} of '${release.app}' was not ended`;
        log({ level: "error", message, error });
      })
      .finally(() => app.leaving.delete(formation));
    app.leaving.set(formation, left);
  };

  const launchNow = async (
    release: LaunchRelease,
    wanted: Formation | undefined,
    { isRestored, signal }: { readonly isRestored: boolean; readonly signal: AbortSignal },
  ): Promise<void> => {
    throwIfAborted(signal);
    const app = appOf(release.app);
    const releases = join(directory, release.app, "releases");
    // What a server that was killed has left.
    if (app.formation === undefined && app.leaving.size === 0) await removeTree(releases);
    // The same release may be launched again beside itself.
    const files = join(releases, `v${release.number}-${randomBytes(4).toString("hex")}`);
    await makePassable([directory, join(directory, release.app), releases]);
    await unpack(release.slugPath, files, signal);
    await app.log.write("gitwharf[release]", [
      `Launching v${release.number} (${release.commit.slice(0, 7)})`,
    ]);
    const formation = createFormation(hostFor(app, release), release, files);
    const { [WEB_TYPE]: web = 0, ...others } = formationOf(release, wanted);
    try {
      const target = await bringUp(formation, web, { isRestored, signal });
      await swap(app, formation, target);
    } catch (error) {
      await formation.stop("web", 0);
      await removeTree(files);
      const why = error instanceof Error ? error.message : String(error);
      await app.log.write("gitwharf[release]", linesOf(`v${release.number} was not launched: ${why}`));
      throw error;
    }
    await formation.scale(others, drainMs);
  };

  /** Everything up to the moment in which requests may come. */
  const bringUp = async (
    formation: RunningFormation,
    web: number,
    { isRestored, signal }: { readonly isRestored: boolean; readonly signal: AbortSignal },
  ): Promise<AppTarget> => {
    const { release, directory: files } = formation;
    if (isStaticSite(release)) {
      const site = await openStaticSite({
        directory: join(files, release.processTypes[STATIC_TYPE] ?? "."),
        within: files,
        version: release.id,
      });
      return { kind: "site", site, requests: formation.guests };
    }
    throwIfAborted(signal);
    const abandon = (): void => void formation.stop("web", 0);
    signal.addEventListener("abort", abandon, { once: true });
    try {
      const hasWeb = release.processTypes[WEB_TYPE] !== undefined;
      const up = formation.scale(hasWeb ? { [WEB_TYPE]: web } : {}, drainMs);
      if (isRestored) up.catch(() => undefined);
      else await up;
      throwIfAborted(signal);
    } finally {
      signal.removeEventListener("abort", abandon);
    }
    return {
      kind: "processes",
      processes: () => formation.processes().filter(({ type }) => type === WEB_TYPE),
    };
  };

  const runningApp = (name: string): RunningApp & { readonly formation: RunningFormation } => {
    const app = apps.get(name);
    if (app?.formation === undefined)
      throw new GitwharfError("storage/not-found", `no release of '${name.slice(0, 80)}' runs`);
    return app as RunningApp & { readonly formation: RunningFormation };
  };

  const stopApp = async (app: RunningApp): Promise<void> => {
    const { formation } = app;
    delete app.formation;
    delete app.target;
    if (formation !== undefined) depart(app, formation, 0);
    app.runsEnd.abort();
    app.runsEnd = new AbortController();
    await Promise.all([
      app.runsAtWork.idle(GUESTS_MS),
      // Those who had some time have none now.
      ...[...app.leaving.keys()].flatMap((one) => [one.stop("others", 0), one.stop("web", 0)]),
    ]);
    await app.log.close();
  };

  const launchMade: Launcher["launchMade"] = async (name, make, { formation, signal, onLaunched } = {}) =>
    inTurn(appOf(name), async () => {
      throwIfAborted(closing.signal);
      const release = await make();
      if (release === undefined) return undefined;
      try {
        const wanted = typeof formation === "function" ? await formation() : formation;
        await launchNow(release, wanted, { isRestored: false, signal: untilClosing(signal) });
      } catch (error) {
        throwIfAborted(closing.signal);
        // The reason, which may be that the server stops.
        throwIfAborted(signal);
        throw error;
      }
      await onLaunched?.(release);
      return release;
    });

  return {
    async launch(release, given) {
      await launchMade(release.app, async () => release, given);
    },
    launchMade,
    restore: async (release, formation) =>
      inTurn(appOf(release.app), () =>
        launchNow(release, formation, { isRestored: true, signal: closing.signal }),
      ),
    scale: async (name, wanted) => {
      const app = runningApp(name);
      for (const [type, count] of Object.entries(wanted)) checkCount(app.formation.release, type, count);
      await inTurn(app, async () => {
        throwIfAborted(closing.signal);
        await runningApp(name).formation.scale(wanted, drainMs);
      });
    },
    processes: (name) => apps.get(name)?.formation?.processes(),
    targetOf: (name) => apps.get(name)?.target,
    releaseOf: (name) => apps.get(name)?.formation?.release,
    async run({ app: appName, command, signal, onOutput }) {
      throwIfAborted(closing.signal);
      const app = runningApp(appName);
      const { release, directory: files, guests } = app.formation;
      const ends = [guests.begin(), app.runsAtWork.begin()];
      const until = AbortSignal.any([untilClosing(signal), app.runsEnd.signal]);
      const name = `run.${++app.runs}`;
      const lines = createOutputLines();
      try {
        await app.log.write(`gitwharf[${name}]`, linesOf(`Starting process with command \`${command}\``));
        return await runner.run({
          directory: files,
          command: startCommand(command),
          environment: environmentOf({ release, name, directory: files, port: undefined, base: environment }),
          ...(limits === undefined ? {} : { limits }),
          signal: until,
          async onOutput(chunk) {
            await app.log.write(`app[${name}]`, lines.add(chunk));
            await onOutput(chunk);
          },
        });
      } finally {
        const logged = app.log.write(`app[${name}]`, lines.end());
        for (const end of ends) end();
        await logged;
      }
    },
    async stop(name) {
      const app = apps.get(name);
      if (app !== undefined) await inTurn(app, () => stopApp(app));
    },
    async remove(name) {
      const app = appOf(name);
      await inTurn(app, async () => {
        await stopApp(app);
        await removeTree(join(directory, name));
        await removeTree(dirname(logDirectoryOf(options.logs ?? directory, name)));
        apps.delete(name);
      });
    },
    async close() {
      closing.abort(new GitwharfError("base/shutting-down", "the server is shutting down; try again later"));
      const timer = setTimeout(() => late.abort(), GUESTS_MS);
      // A launch in the middle of it ends with its processes; whoever waits is told.
      await Promise.all(
        [...apps.values()].map(async (app) => {
          await inTurn(app, () => stopApp(app));
          await Promise.all(app.leaving.values());
          await app.log.close();
        }),
      );
      clearTimeout(timer);
    },
  };
}

/** Others may go through, and see nothing: processes may run as another user. */
async function makePassable(directories: readonly string[]): Promise<void> {
  for (const path of directories) {
    await mkdir(path, { recursive: true });
    await chmod(path, 0o711);
  }
}

/** Only what is a path can be asked for. */
function healthPathOf({ config }: LaunchRelease): string | undefined {
  const path = config["HEALTH_PATH"];
  return path !== undefined && /^\/[\x21-\x7e]{0,500}$/.test(path) ? path : undefined;
}

function commonEnvironment(of: NodeJS.ProcessEnv): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of ["PATH", "LANG", "LC_ALL", "TZ"]) {
    const value = of[name];
    if (value !== undefined) found[name] = value;
  }
  return found;
}
