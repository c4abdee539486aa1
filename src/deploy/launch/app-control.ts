/**
 * What operators do with apps, wherever they are: `ps`, `scale`, `config`, `releases`, `rollback`, `run`. Reads and writes
 * the durable state, and has the launcher follow.
 */
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import { checkVariable, isAppName, isProcessType } from "../state/app-rules.js";
import { checkCount, checkNumber } from "./formation.js";
import type { BuildControl } from "./build-control.js";
import type { Formation, LaunchRecords, LaunchRelease } from "./launch-release.js";
import type { Launcher } from "./launcher.js";
import type { ProcessEnd } from "./process-runner.js";
import type { ProcessState } from "./supervised-process.js";

export interface ProcessRow {
  readonly app: string;
  readonly name: string;
  readonly state: ProcessState;
  readonly since: number;
  readonly restarts: number;
  readonly command: string;
  /** 12 in `v12`. */
  readonly release: number;
}

export interface ReleaseRow
  extends Pick<LaunchRelease, "number" | "commit" | "status" | "createdAt" | "createdBy"> {
  readonly isCurrent: boolean;
  /** What made it: `Deploy 1234567`, `Set GREETING`. */
  readonly description: string | undefined;
}

export interface AppControl extends BuildControl {
  /** Of one app, or of all. */
  ps(app: string | undefined): Promise<readonly ProcessRow[]>;
  scale(app: string, changes: Formation): Promise<Formation>;
  config(app: string): Promise<Readonly<Record<string, string>>>;
  /** null removes. @returns the number of the release that it makes; undefined: there is none so far */
  setConfig(
    app: string,
    changes: Readonly<Record<string, string | null>>,
    by: string | undefined,
  ): Promise<number | undefined>;
  releases(app: string): Promise<readonly ReleaseRow[]>;
  /** @param number @default the last one that ran before the current one. @returns the number of the new release */
  rollback(app: string, number: number | undefined, by: string | undefined): Promise<number>;
  run(
    app: string,
    command: string,
    signal: AbortSignal,
    onOutput: (chunk: Uint8Array) => void | Promise<void>,
  ): Promise<ProcessEnd>;
  /** What the build at work, else the last one, has printed so far, and what it prints until it is over. @returns its status */
  followBuild: FollowBuild;
}

/** undefined: nothing was ever built. */
export type FollowBuild = (
  app: string,
  signal: AbortSignal,
  onOutput: (chunk: Uint8Array) => void | Promise<void>,
) => Promise<string | undefined>;

const RELEASES_SHOWN = 50;

export interface AppControlOptions {
  readonly records: LaunchRecords;
  readonly launcher: Launcher;
  /** Of whoever builds, as `builds`. @default nothing is ever built */
  readonly followBuild?: FollowBuild | undefined;
  readonly builds?: BuildControl | undefined;
  /** @default none is */
  readonly isElsewhere?: IsElsewhere;
}

/** Does another platform launch this? @param release the current one of an app; undefined: it has none */
export type IsElsewhere = (release: LaunchRelease | undefined) => boolean;

export function createAppControl(options: AppControlOptions): AppControl {
  const { records, launcher, isElsewhere = () => false } = options;
  const { followBuild = async () => undefined, builds = NO_BUILDS } = options;
  const checkApp = async (app: string): Promise<void> => {
    if (!isAppName(app) || !(await records.listApps()).includes(app))
      throw new GitwharfError(
        "storage/not-found",
        `there is no app '${app.slice(0, 80)}'; \`gitwharf apps\` lists them`,
      );
  };
  /** @param what it is to do: "scaled" */
  const checkHere = async (app: string, what: string): Promise<void> => {
    await checkApp(app);
    if (isElsewhere(await records.currentRelease(app)))
      throw wrong(
        `'${app}' cannot be ${what} here: the platform of its dynos builds and launches it; ask it there`,
      );
  };
  const launch = (app: string, make: MakeRelease): Promise<LaunchRelease | undefined> =>
    launchAndSettle(records, launcher, app, make);
  return {
    ...builds,
    async ps(app) {
      if (app !== undefined) await checkApp(app);
      const apps = app === undefined ? await records.listApps() : [app];
      return apps.flatMap((one) => {
        const release = launcher.releaseOf(one);
        if (release === undefined) return [];
        return (launcher.processes(one) ?? []).map(({ name, state, since, restarts, command }) => ({
          app: one,
          name,
          state,
          since,
          restarts,
          command,
          release: release.number,
        }));
      });
    },
    async scale(app, changes) {
      await checkHere(app, "scaled");
      const release = launcher.releaseOf(app) ?? (await records.currentRelease(app));
      for (const [type, count] of Object.entries(changes)) {
        if (!isProcessType(type)) throw wrong(`'${type.slice(0, 80)}' is no process type`);
        if (release === undefined) checkNumber(type, count);
        else checkCount(release, type, count);
      }
      const formation = { ...(await records.formationOf(app)), ...changes };
      // Durable first: whatever comes of it now is tried again when the server starts.
      await records.setFormation(app, formation);
      if (launcher.releaseOf(app) !== undefined) await launcher.scale(app, changes);
      return formation;
    },
    async config(app) {
      await checkApp(app);
      return records.configOf(app);
    },
    async setConfig(app, changes, by) {
      await checkHere(app, "configured");
      for (const [name, value] of Object.entries(changes)) checkVariable(name, value ?? "");
      const release = await launch(app, () => records.changeConfig(app, changes, by));
      return release?.number;
    },
    async releases(app) {
      await checkApp(app);
      const current = await records.currentRelease(app);
      return (await records.listReleases(app, RELEASES_SHOWN)).map((release) => ({
        number: release.number,
        commit: release.commit,
        status: release.status,
        createdAt: release.createdAt,
        createdBy: release.createdBy,
        isCurrent: release.id === current?.id,
        description: release.description,
      }));
    },
    async rollback(app, number, by) {
      await checkHere(app, "rolled back");
      const release = await launch(app, () =>
        number === undefined ? copyPrevious(records, app, by) : records.copyRelease(app, number, by),
      );
      if (release === undefined) {
        const which = number === undefined ? "an earlier release" : `a release v${number} that ran`;
        throw new GitwharfError("storage/not-found", `'${app}' does not have ${which}`);
      }
      return release.number;
    },
    async run(app, command, signal, onOutput) {
      await checkHere(app, "run");
      return launcher.run({ app, command, signal, onOutput });
    },
    async followBuild(app, signal, onOutput) {
      await checkApp(app);
      return followBuild(app, signal, onOutput);
    },
  };
}

const noBuilds = async (): Promise<never> => {
  throw wrong("nothing is built here: what runs is somebody else's to make");
};
const NO_BUILDS: BuildControl = {
  apps: noBuilds,
  createApp: noBuilds,
  removeApp: noBuilds,
  builds: noBuilds,
  cancelBuild: noBuilds,
  retryBuild: noBuilds,
};

type MakeRelease = () => Promise<LaunchRelease | undefined>;

/** A shutdown says nothing of the release: it is launched when the server starts again. @throws what the launch threw */
export async function launchAndSettle(
  records: LaunchRecords,
  launcher: Pick<Launcher, "launchMade">,
  app: string,
  make: MakeRelease,
): Promise<LaunchRelease | undefined> {
  let made: LaunchRelease | undefined;
  try {
    return await launcher.launchMade(app, async () => (made = await make()), {
      formation: () => records.formationOf(app),
      onLaunched: ({ id }) => records.settleRelease(id, "launched"),
    });
  } catch (error) {
    if (made !== undefined && !isGitwharfError(error, "base/shutting-down"))
      await records.settleRelease(made.id, "failed");
    throw error;
  }
}

/** Of the newest before the current one that ran. */
async function copyPrevious(
  records: LaunchRecords,
  app: string,
  by: string | undefined,
): Promise<LaunchRelease | undefined> {
  const current = await records.currentRelease(app);
  if (current === undefined) return undefined;
  for (const { number } of await records.listReleases(app, RELEASES_SHOWN)) {
    const copy = number < current.number ? await records.copyRelease(app, number, by) : undefined;
    if (copy !== undefined) return copy;
  }
  return undefined;
}

function wrong(why: string): GitwharfError {
  return new GitwharfError("protocol/bad-request", why);
}
