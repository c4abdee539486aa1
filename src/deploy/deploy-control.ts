/** Carries out what operators ask of apps and builds: `gitwharf apps`, `gitwharf builds`. */
import { isOpen } from "../database/build-store.js";
import type { App } from "../database/app-store.js";
import { GitwharfError } from "../base/errors.js";
import type { Deploy } from "./deploy.js";
import type { BuildControl } from "./launch/build-control.js";
import type { Launcher } from "./launch/launcher.js";

const BUILDS_SHOWN = 50;

export interface DeployControlOptions {
  readonly deploy: Deploy;
  /** Not there yet when this is made. */
  readonly launcher: () => Launcher;
  /** Of apps of which nobody says another. */
  readonly branch: string;
  /** Does another platform launch what is built? */
  readonly isElsewhere: boolean;
}

export function createDeployControl(options: DeployControlOptions): BuildControl {
  const { deploy, launcher, branch, isElsewhere } = options;
  const { apps, builds, releases } = deploy.state;
  const appCalled = async (name: string): Promise<App> => {
    const app = await apps.find(name);
    if (app === undefined)
      throw notFound(`there is no app '${name.slice(0, 80)}'; \`gitwharf apps\` lists them`);
    return app;
  };
  return {
    async apps() {
      const all = await apps.list();
      return Promise.all(
        all.map(async (app) => {
          const current = await releases.current(app.id);
          const { name, repository, createdAt, createdBy } = app;
          return {
            name,
            repository,
            branch: app.branch,
            createdAt,
            createdBy,
            release: current?.number,
            commit: current?.commit,
          };
        }),
      );
    },
    async createApp(given) {
      const {
        name,
        repository,
        branch: made,
      } = await deploy.state.createApp({
        name: given.name,
        branch: given.branch ?? branch,
        createdBy: given.by,
        ...(given.repository === undefined ? {} : { repository: given.repository }),
      });
      return { name, repository, branch: made };
    },
    async removeApp(name) {
      const app = await appCalled(name);
      for (const build of await builds.list(app.id, BUILDS_SHOWN))
        if (isOpen(build.status)) await deploy.cancel(build.id);
      await launcher().remove(name);
      await deploy.state.removeApp(app);
      // What was launched in between.
      await launcher().stop(name);
    },
    async builds(name) {
      const app = await appCalled(name);
      return (await builds.list(app.id, BUILDS_SHOWN)).map(
        ({ id, commit, status, reason, createdAt, createdBy, startedAt, endedAt }) => ({
          id,
          commit,
          status,
          reason,
          createdAt,
          createdBy,
          startedAt,
          endedAt,
          isElsewhere,
        }),
      );
    },
    async cancelBuild(name, given) {
      const app = await appCalled(name);
      const open = (await builds.list(app.id, BUILDS_SHOWN)).filter(({ status }) => isOpen(status));
      // Newest first: the last is the one at work.
      const build = given === undefined ? open.at(-1) : open.find(({ id }) => id.startsWith(given));
      if (build === undefined || !(await deploy.cancel(build.id)))
        throw notFound(
          given === undefined
            ? `nothing of '${name}' is being built`
            : `no build ${given.slice(0, 80)} of '${name}' waits or is at work; \`gitwharf builds ${name}\` lists them`,
        );
      return build.id;
    },
    async retryBuild(name, { commit, by, signal, onOutput }) {
      await appCalled(name);
      const { status, reason } = await deploy.rebuild(name, {
        by,
        signal,
        print: async (text) => onOutput(Buffer.from(text)),
        ...(commit === undefined ? {} : { commit }),
      });
      return { status, reason };
    },
  };
}

function notFound(message: string): GitwharfError {
  return new GitwharfError("storage/not-found", message);
}
