/** Builds on this machine: a checkout of what was pushed, a place beside it, an executor for the programs. */
import { access } from "node:fs/promises";
import { GitwharfError } from "../../base/errors.js";
import { DEFAULT_LIMITS } from "../../base/limits.js";
import { checkOutTree } from "../../engine/pushed/check-out-tree.js";
import { treeBehind } from "../../engine/pushed/pushed-files.js";
import type { ObjectId } from "../../object/object-id.js";
import type { ExecutionLimits, Executor } from "../executors/executor.js";
import { digestOfConfig, type DeployState } from "../state/deploy-state.js";
import { buildApp } from "./build-app.js";
import { openBuildPlace } from "./build-place.js";
import type { BuildWay } from "./build-way.js";
import type { BuildpackSources } from "./buildpack-source.js";

export interface BuildHereOptions {
  readonly state: DeployState;
  readonly executor: Executor;
  readonly limits: ExecutionLimits;
  readonly buildpacks: BuildpackSources;
  readonly network: boolean | "when-asked";
  readonly stack: string;
  /** PATH of what is run. */
  readonly path: string;
}

export function createBuildsHere(options: BuildHereOptions): BuildWay {
  const { state, executor } = options;
  const { directories } = state;
  return {
    async keep({ update }, directory) {
      return (await update.checkout(directory)).skipped;
    },
    async keepCommit({ repository, commit, app, signal }, directory) {
      const snapshot = await repository.snapshot();
      try {
        const { objects, shallow } = snapshot;
        const from = { objects, snapshot, shallow, limits: DEFAULT_LIMITS, signal };
        const tree = await treeBehind(from, commit as ObjectId);
        if (tree === undefined) throw noCommit(app.repository, commit);
        await checkOutTree(from, tree.tree, directory);
      } finally {
        snapshot.release();
      }
    },
    async build({ build, app, output, signal }) {
      const config = await state.apps.config(app.id);
      if (digestOfConfig(config) !== build.configDigest)
        await output.detail(
          "The configuration has changed since this was queued: it is built with the new one.",
        );
      // Whoever had begun with it died, and may have left something that works on the app's cache.
      if (build.claims > 1) await executor.tidy();
      const place = await openBuildPlace({
        id: build.id,
        commit: build.commit,
        app: app.name,
        source: directories.sourceOf(build.id),
        work: directories.workOf(build.id, build.claims),
        cache: directories.cacheOf(app.id),
        config,
        executor,
        limits: options.limits,
        stack: options.stack,
        path: options.path,
      });
      return buildApp({
        app,
        config,
        place,
        output,
        slug: directories.slugOf(app.id, build.id),
        buildpacks: options.buildpacks,
        network: options.network,
        signal,
      });
    },
    isKept: (_build, { slugPath }) =>
      access(slugPath).then(
        () => true,
        () => false,
      ),
  };
}

export function noCommit(repository: string, commit: string): GitwharfError {
  return new GitwharfError(
    "storage/not-found",
    `${repository} has no commit ${commit}: of a push that was refused nothing stays; push it again`,
  );
}
