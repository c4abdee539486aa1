/** The durable state of apps: rows in the database, files in a directory. */
import { createHash } from "node:crypto";
import { rm } from "node:fs/promises";
import { type App, type AppConfig, type AppStore, createAppStore } from "../../database/app-store.js";
import { type Build, type BuildStore, createBuildStore } from "../../database/build-store.js";
import type { Database } from "../../database/open-database.js";
import { createReleaseStore, type Release, type ReleaseStore } from "../../database/release-store.js";
import { GitwharfError } from "../../base/errors.js";
import { checkAppName, checkVariable } from "./app-rules.js";
import { type DeployDirectories, openDeployDirectories } from "./deploy-directories.js";

export interface DeployState {
  readonly apps: AppStore;
  readonly builds: BuildStore;
  readonly releases: ReleaseStore;
  readonly directories: DeployDirectories;
  /** @param repository @default the app's name @param branch @default "main" @throws storage/bad-name, storage/exists */
  createApp(app: {
    readonly name: string;
    readonly repository?: string;
    readonly branch?: string;
    readonly createdBy?: string;
  }): Promise<App>;
  /** @throws storage/bad-name */
  setVariable(app: App, name: string, value: string): Promise<void>;
  /** With its files. Processes that run are somebody else's to end, before. */
  removeApp(app: App): Promise<void>;
  /** The release of a build that succeeded, or failed where pushes are accepted all the same. Once made it stays the one. */
  releaseBuild(app: App, build: Build): Promise<Release>;
}

export async function openDeployState(
  database: Pick<Database, "db">,
  directory: string,
): Promise<DeployState> {
  const apps = createAppStore(database);
  const builds = createBuildStore(database);
  const releases = createReleaseStore(database);
  const directories = await openDeployDirectories(directory);
  return {
    apps,
    builds,
    releases,
    directories,
    async createApp({ name, repository = name, branch = "main", createdBy = "" }) {
      checkAppName(name);
      const added = await apps.add({ name, repository, branch, createdBy });
      if (added !== "taken") return added;
      throw new GitwharfError(
        "storage/exists",
        `there is an app called ${name} already, or one that is deployed from ${repository}`,
      );
    },
    async setVariable(app, name, value) {
      checkVariable(name, value);
      await apps.setConfig(app.id, name, value);
    },
    async removeApp(app) {
      const all = await builds.list(app.id, 100_000);
      await apps.remove(app.id);
      for (const { id } of all) {
        await directories.removeBuild(id);
        await rm(directories.logOf(id), { force: true });
      }
      await directories.removeApp(app.id);
    },
    async releaseBuild(app, build) {
      const { product } = build;
      const made = {
        app: app.id,
        commit: build.commit,
        buildId: build.id,
        description: `Deploy ${build.commit.slice(0, 7)}`,
        createdBy: build.createdBy,
      };
      if (product === undefined) {
        return releases.add({ ...made, slugPath: "", processTypes: {}, config: {}, status: "failed" });
      }
      const { slugPath, processTypes, config } = product;
      for (const [name, value] of Object.entries(config)) await apps.setConfigDefault(app.id, name, value);
      // What was set while it was built holds for what is launched now.
      const now = await apps.config(app.id);
      return releases.add({ ...made, slugPath, processTypes, config: now, status: "created" });
    },
  };
}

/** Equal configurations have the same. */
export function digestOfConfig(config: AppConfig): string {
  const sorted = Object.entries(config).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return createHash("sha256").update(JSON.stringify(sorted)).digest("hex");
}
