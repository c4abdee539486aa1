/**
 * podman for tests of containers, with storage of its own and an image of one program (busybox), so that nothing is fetched;
 * GITWHARF_TEST_PODMAN=skip leaves them out.
 */
import { execFile } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, rmSync, symlinkSync } from "node:fs";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { installDebianPackage } from "./debian-package.js";

export const SKIP_PODMAN = process.env["GITWHARF_TEST_PODMAN"] === "skip";

export interface TestPodman {
  readonly image: string;
  readonly programArguments: readonly string[];
  /** The names of all containers, also those that have ended. */
  names(): Promise<readonly string[]>;
  /** With everything in it. */
  remove(): Promise<void>;
}

const IMAGE = "localhost/gitwharf-test";
const APPLETS = "sh cat echo env grep head id kill ls ps setsid sleep touch wc wget yes".split(" ");

/** @param directory on a file system that can hold images */
export async function startPodman(directory: string): Promise<TestPodman> {
  const isThere = (program: string) => () =>
    (process.env["PATH"] ?? "").split(delimiter).some((path) => existsSync(join(path, program)));
  await installDebianPackage("busybox-static", isThere("busybox"));
  await installDebianPackage("runc", isThere("runc"));
  await installDebianPackage("catatonit", () => existsSync("/usr/bin/catatonit"));
  await installDebianPackage("podman", isThere("podman"));
  const programArguments = [
    `--root=${join(directory, "storage")}`,
    `--runroot=${join(directory, "run")}`,
    "--storage-driver=vfs",
    "--runtime=runc",
    "--cgroup-manager=cgroupfs",
    "--events-backend=none",
  ];
  const call = async (...args: readonly string[]): Promise<string> =>
    (await promisify(execFile)("podman", [...programArguments, ...args], { timeout: 60_000 })).stdout;
  const root = join(directory, "image");
  mkdirSync(join(root, "bin"), { recursive: true });
  copyFileSync("/bin/busybox", join(root, "bin/busybox"));
  for (const applet of APPLETS) symlinkSync("busybox", join(root, "bin", applet));
  for (const place of ["tmp", "app", "proc", "sys", "dev", "etc", "run"]) mkdirSync(join(root, place));
  chmodSync(join(root, "tmp"), 0o1777);
  const archive = join(directory, "image.tar");
  await promisify(execFile)("tar", ["-cf", archive, "-C", root, "."]);
  await call("import", archive, IMAGE);
  return {
    image: IMAGE,
    programArguments,
    names: async () =>
      (await call("ps", "--all", "--format", "{{.Names}}")).split("\n").filter((name) => name !== ""),
    async remove() {
      await call("rm", "--all", "--force", "--time=0").catch(() => undefined);
      rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}
