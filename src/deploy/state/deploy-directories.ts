/**
 * Where builds, caches and slugs stand. What programs of a push write to belongs to whom they run as, who may pass through
 * the directories above it and read none of them.
 *
 *     place                     names this directory in the database
 *     apps/ID/cache/            kept from build to build
 *     apps/ID/slugs/BUILD.tar
 *     builds/BUILD/source/      as it was pushed, until the build is over: another builder can begin anew
 *     builds/BUILD/work-N/      of the builder that has begun with it as the Nth: build, env, buildpack
 *     logs/BUILD.log
 */
import { randomUUID } from "node:crypto";
import { chmod, link, mkdir, readdir, readFile, rm, unlink, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";

export interface DeployDirectories {
  readonly root: string;
  readonly place: string;
  cacheOf(app: string): string;
  slugsOf(app: string): string;
  slugOf(app: string, build: string): string;
  sourceOf(build: string): string;
  workOf(build: string, claim: number): string;
  logOf(build: string): string;
  /** Of which there are files. */
  builds(): Promise<readonly string[]>;
  /** The source and whatever the build left. */
  removeBuild(build: string): Promise<void>;
  /** Cache and slugs. */
  removeApp(app: string): Promise<void>;
}

/** Others may go through, and see nothing. */
const PASSABLE = 0o711;

export async function openDeployDirectories(directory: string): Promise<DeployDirectories> {
  const root = resolve(directory);
  for (const path of [root, join(root, "apps"), join(root, "builds")]) {
    await mkdir(path, { recursive: true });
    await chmod(path, PASSABLE);
  }
  await mkdir(join(root, "logs"), { recursive: true, mode: 0o700 });
  const place = await placeIn(root);
  const appOf = (app: string): string => join(root, "apps", app);
  const buildOf = (build: string): string => join(root, "builds", build);
  return {
    root,
    place,
    cacheOf: (app) => join(appOf(app), "cache"),
    slugsOf: (app) => join(appOf(app), "slugs"),
    slugOf: (app, build) => join(appOf(app), "slugs", `${build}.tar`),
    sourceOf: (build) => join(buildOf(build), "source"),
    workOf: (build, claim) => join(buildOf(build), `work-${claim}`),
    logOf: (build) => join(root, "logs", `${build}.log`),
    builds: () => readdir(join(root, "builds")),
    removeBuild: (build) => removeTree(buildOf(build)),
    removeApp: (app) => removeTree(appOf(app)),
  };
}

/** Two processes may open a new directory at once: a link is made by one of them only. */
async function placeIn(root: string): Promise<string> {
  const path = join(root, "place");
  const made = `${path}-${randomUUID()}`;
  try {
    return (await readFile(path, "utf8")).trim();
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
  }
  await writeFile(made, `${randomUUID()}\n`, { mode: 0o600 });
  try {
    await link(made, path);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
  } finally {
    await unlink(made);
  }
  return (await readFile(path, "utf8")).trim();
}

/** Also where somebody took the right to write away from himself. */
export async function removeTree(directory: string): Promise<void> {
  const options = { recursive: true, force: true, maxRetries: 3 } as const;
  try {
    await rm(directory, options);
  } catch {
    await openUp(directory);
    await rm(directory, options);
  }
}

async function openUp(directory: string): Promise<void> {
  const waiting = [directory];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const here = next;
    await chmod(here, 0o700).catch(() => undefined);
    const entries = await readdir(here, { withFileTypes: true }).catch(() => []);
    for (const entry of entries) if (entry.isDirectory()) waiting.push(join(here, entry.name));
  }
}
