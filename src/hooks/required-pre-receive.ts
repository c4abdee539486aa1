/**
 * Serve no repository without its pre-receive hook: where that hook is what protects it, one that is missing leaves it
 * open. Not even for reading: something is wrong with such a repository.
 */
import { join } from "node:path";
import { GitwharfError } from "../base/errors.js";
import type { Repository } from "../storage/contracts/repository.js";
import { findCommonDirectory } from "./hook-caller.js";
import { findHook } from "./run-hook.js";

/** @throws server/bad-configuration */
export async function requirePreReceive({
  name,
  gitDirectory,
}: Pick<Repository, "name" | "gitDirectory">): Promise<void> {
  const found =
    gitDirectory === undefined
      ? "absent"
      : await findHook(join(await findCommonDirectory(gitDirectory), "hooks", "pre-receive"));
  if (found === "run") return;
  throw new GitwharfError(
    "server/bad-configuration",
    `repository '${name}' is not served (requirePreReceive): its pre-receive hook is ${found === "ignored" ? "not executable" : "absent"}`,
  );
}
