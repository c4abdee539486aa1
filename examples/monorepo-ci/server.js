// Continuous integration for a monorepo: a push runs the tests of the packages that it changes, and of those that depend on
// them, before it is accepted. The commands come from the pushed commit and run as this server: for people you trust.
import { spawn } from "node:child_process";
import { createGitServer, createReceiver } from "gitwharf";

const ci = createReceiver({
  async handler({ update, checkout, print, signal }) {
    const packages = await readPackages(update);
    const affected = await affectedBy(update, packages);
    if (affected.length === 0) return print("CI: no package has changed.\n");

    const directory = await checkout({ paths: ["packages"] });
    const failed = [];
    for (const { folder, test } of affected) {
      await print(`-----> ${folder}: ${test}\n`);
      const status = await run(test, { directory: `${directory}/packages/${folder}`, print, signal });
      if (status !== 0) failed.push(folder);
    }
    if (failed.length > 0) return `tests fail: ${failed.join(", ")}`;
    return print(`CI: ${affected.length} of ${packages.length} packages pass.\n`);
  },
});

/** Every `packages/FOLDER/package.json` that says how to test. */
async function readPackages(update) {
  const folders = ((await update.list("packages")) ?? []).filter(({ kind }) => kind === "directory");
  const packages = [];
  for (const { name: folder, path } of folders) {
    const file = await update.file(`${path}/package.json`);
    if (file === undefined) continue;
    const { name, scripts, dependencies } = JSON.parse(await file.text({ maxBytes: 1024 * 1024 }));
    if (scripts?.test !== undefined)
      packages.push({ folder, name, test: scripts.test, needs: Object.keys(dependencies ?? {}) });
  }
  return packages;
}

/** The packages in which a file differs, and those that need one of them, however far away. */
async function affectedBy(update, packages) {
  const changed = new Set();
  for await (const { path } of update.changedPaths()) {
    const [top, folder] = path.split("/");
    // A file at the root that says how all of it is built concerns everybody.
    if (path === "package.json") return packages;
    if (top === "packages") changed.add(folder);
  }
  const affected = new Set(packages.filter(({ folder }) => changed.has(folder)));
  for (const one of affected) {
    for (const other of packages) if (other.needs.includes(one.name)) affected.add(other);
  }
  return packages.filter((one) => affected.has(one));
}

/** A shell command and all that it starts: it ends with the push. @returns its exit status */
async function run(command, { directory, print, signal }) {
  const child = spawn("/bin/sh", ["-c", `exec 2>&1\n${command}`], {
    cwd: directory,
    detached: true,
    stdio: ["ignore", "pipe", "ignore"],
    env: { PATH: process.env.PATH, HOME: directory, CI: "true" },
  });
  const ended = new Promise((resolve) => {
    child.once("error", () => resolve(127));
    child.once("close", (status) => resolve(status ?? 1));
  });
  const kill = () => {
    try {
      process.kill(-child.pid, "SIGKILL");
    } catch {
      // It has ended already.
    }
  };
  signal.addEventListener("abort", kill, { once: true });
  // Awaited: a slow pusher slows the command, not this server's memory.
  for await (const chunk of child.stdout) await print(chunk.toString());
  const status = await ended;
  signal.removeEventListener("abort", kill);
  return status;
}

export const git = createGitServer({
  repositories: "./repositories",
  autoCreate: "push",
  handlers: ci,
});

export const { http } = await git.listen({ http: process.env.PORT ?? 5000 });
console.log(`Serving ${http.url}`);
