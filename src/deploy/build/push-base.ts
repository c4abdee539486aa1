/**
 * What a push stood on when its build was queued. In a dyno a build launches what it has built, so none is begun of a push that
 * its ref will not take: one that was built while it waited has moved the ref, or is about to.
 *
 *     base      the id that the ref had, SP, the app's last build that had succeeded (nothing: there was none)
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Build, BuildStore } from "../../database/build-store.js";
import { isNullObjectId } from "../../object/object-id.js";
import type { Snapshot } from "../../storage/contracts/repository.js";

const FILE = "base";

type Builds = Pick<BuildStore, "list">;

/** @param directory is there */
export async function keepBase(
  about: { readonly builds: Builds; readonly app: string; readonly oldOid: string },
  directory: string,
): Promise<void> {
  const last = await lastSucceeded(about.builds, about.app);
  await writeFile(join(directory, FILE), `${about.oldOid} ${last?.id ?? ""}`, { flush: true });
}

/**
 * The commit that came between; undefined: none did, or no base was kept.
 * @param snapshot of the app's repository
 */
export async function whatCameBetween(
  about: { readonly builds: Builds; readonly build: Build; readonly snapshot: Pick<Snapshot, "refs"> },
  directory: string,
): Promise<string | undefined> {
  const { builds, build, snapshot } = about;
  const kept = await readFile(join(directory, FILE), "utf8").catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  });
  if (kept === undefined) return undefined;
  const [oldOid = "", lastId] = kept.split(" ");
  const now = snapshot.refs.get(build.refName)?.oid;
  if (now !== (isNullObjectId(oldOid) ? undefined : oldOid)) return now ?? oldOid;
  const last = await lastSucceeded(builds, build.app);
  if (last === undefined || last.id === lastId || last.commit === oldOid) return undefined;
  return last.commit;
}

export async function lastSucceeded(builds: Builds, app: string): Promise<Build | undefined> {
  return (await builds.list(app)).find(({ status }) => status === "succeeded");
}
