/** A small file that a push brought or a build wrote: never through a link, never a pipe that nobody writes to. */
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { GitwharfError } from "../../base/errors.js";

const BYTES_MAX = 1024 * 1024;

/** @returns undefined when there is none @throws object/malformed */
export async function readBuildFile(
  directory: string,
  name: string,
  bytesMax = BYTES_MAX,
): Promise<string | undefined> {
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(
      join(directory, name),
      constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
    );
  } catch (error) {
    const code: unknown = error instanceof Error ? Reflect.get(error, "code") : undefined;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw new GitwharfError("object/malformed", `${name} is not a file that can be read`, { cause: error });
  }
  try {
    const found = await file.stat();
    if (!found.isFile()) throw new GitwharfError("object/malformed", `${name} is not a file`);
    if (found.size > bytesMax)
      throw new GitwharfError("object/malformed", `${name} has more than ${bytesMax} bytes`);
    return await file.readFile("utf8");
  } finally {
    await file.close();
  }
}
