/** bubblewrap for tests of the sandbox; GITWHARF_TEST_SANDBOX=skip leaves them out. */
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { installDebianPackage } from "./debian-package.js";

export const SKIP_SANDBOX = process.env["GITWHARF_TEST_SANDBOX"] === "skip";

/** Others may be installing something, too. */
export const INSTALL_TIMEOUT_MS = 240_000;

export async function installBubblewrap(): Promise<void> {
  const directories = (process.env["PATH"] ?? "").split(delimiter);
  await installDebianPackage("bubblewrap", () =>
    directories.some((directory) => existsSync(join(directory, "bwrap"))),
  );
}
