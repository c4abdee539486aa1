/**
 * Removes slugs and logs that nobody comes back to: releases further back than may be returned to, builds long over; and
 * what was pushed for builds that ended without a builder.
 */
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { isOpen } from "../../database/build-store.js";
import type { DeployState } from "./deploy-state.js";

export interface Retention {
  /** Whose slugs stay; the one that runs does in any case. */
  readonly releases: number;
  /** Whose logs stay; and slugs, as long as they have no release. */
  readonly builds: number;
}

/** It is done after each build. */
const FURTHER_BUILDS = 100;

/** @param app its id */
export async function pruneApp(state: DeployState, app: string, retention: Retention): Promise<void> {
  const { directories } = state;
  const releases = await state.releases.list(app, retention.releases);
  const current = await state.releases.current(app);
  const builds = await state.builds.list(app, retention.builds + FURTHER_BUILDS);
  const kept = builds.filter(({ status }, i) => i < retention.builds || isOpen(status));
  const slugs = new Set([
    ...releases.map(({ slugPath }) => slugPath),
    current?.slugPath,
    ...kept.map(({ id }) => directories.slugOf(app, id)),
  ]);
  const directory = directories.slugsOf(app);
  const names = await readdir(directory).catch(() => []);
  for (const name of names) {
    const path = join(directory, name);
    if (name.endsWith(".tar") && !slugs.has(path)) await rm(path, { force: true });
  }
  const there = new Set(await directories.builds());
  for (const { id, status } of builds)
    if (!isOpen(status) && there.has(id)) await directories.removeBuild(id);
  const logs = new Set(kept.map(({ id }) => id));
  for (const { id } of builds) if (!logs.has(id)) await rm(directories.logOf(id), { force: true });
}
