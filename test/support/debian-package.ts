/** Programs that tests need and do not bring along: installed where that is possible, named where it is not. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";

/**
 * On Debian, as root. Two test files may want packages at the same time.
 * @param name of one, or of several with spaces between them
 * @throws with what to do by hand
 */
export async function installDebianPackage(name: string, isThere: () => boolean): Promise<void> {
  if (isThere()) return;
  const install = ["install", "-y", "--no-install-recommends", ...name.split(" ")];
  if (process.getuid?.() === 0 && existsSync("/usr/bin/apt-get")) {
    for (const step of [install, ["update"], install]) {
      const child = spawn("apt-get", ["-o", "DPkg::Lock::Timeout=120", ...step], {
        stdio: "ignore",
        env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
      });
      await once(child, "close");
      if (isThere()) return;
    }
  }
  throw new Error(`this test needs the Debian package ${name} (apt-get ${install.join(" ")})`);
}
