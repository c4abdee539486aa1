/** Whether programs of another user come to a directory at all: said before the first build fails for it. */
import { stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { GitwharfError } from "../../base/errors.js";

/** @throws server/bad-configuration: which directory above it keeps that user out */
export async function checkPassable(
  directory: string,
  { uid, gid }: { readonly uid: number; readonly gid: number },
): Promise<void> {
  for (let path = dirname(resolve(directory)); ; path = dirname(path)) {
    const found = await stat(path).catch(() => undefined);
    // It is made, and then like the others that are.
    if (found !== undefined) {
      const bit = found.uid === uid ? 0o100 : found.gid === gid ? 0o010 : 0o001;
      if ((found.mode & bit) === 0)
        throw new GitwharfError(
          "server/bad-configuration",
          `builds run as user ${uid}, whom ${path} does not let through to ${directory}: ` +
            `chmod o+x ${path}, or keep what is deployed elsewhere (deploy.directory)`,
        );
    }
    if (path === dirname(path)) return;
  }
}
