/** Push to deploy with the real client: what is built and how, what the pusher sees, what is refused. */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createSandboxExecutor } from "../src/index.js";
import { INSTALL_TIMEOUT_MS, installBubblewrap, SKIP_SANDBOX } from "./support/bubblewrap.js";
import { createDeployStage, type DeployStage, filesInSlug, said } from "./support/deploy-stage.js";

let stage: DeployStage;
beforeAll(async () => {
  if (!SKIP_SANDBOX) await installBubblewrap();
}, INSTALL_TIMEOUT_MS);
beforeEach(async () => {
  stage = await createDeployStage();
});
afterEach(() => stage.close());

describe("a push to the branch that is deployed", () => {
  it("is built by gitwharf.yml, printed, released", async () => {
    await stage.start({ launch: async () => ({ url: "http://shop.localhost:5000" }) });
    const oid = await stage.commit({
      "gitwharf.yml":
        "build:\n- echo one; mkdir -p tmp; echo made > made.txt\n- echo two >&2\nprocesses:\n  web: node .\n",
      ".slugignore": "tmp\n*.log\n",
      "x.log": "x",
      Procfile: "worker: ./run\n",
    });
    const result = await stage.push();
    expect(result.status).toBe(0);
    expect(said(result)).toContain(
      "-----> Running echo one; mkdir -p tmp; echo made > made.txt\n       one\n-----> Running echo two >&2\n       two\n-----> Build succeeded in ",
    );
    expect(said(result)).toMatch(
      /-----> Discovering process types\n {7}Procfile declares types {5}-> worker\n[^]*-----> Compressing\.\.\.\n {7}Done: [0-9.]+[BK]\n-----> Releasing v1\n-----> Launching\.\.\. done, v1\n {7}http:\/\/shop\.localhost:5000 deployed to gitwharf\n/,
    );
    const [release] = await stage.releases();
    expect(release).toMatchObject({
      number: 1,
      commit: oid,
      status: "current",
      processTypes: { web: "node .", worker: "./run" },
      description: `Deploy ${oid.slice(0, 7)}`,
    });
    expect(filesInSlug(release?.slugPath ?? "")).toEqual([
      "./.slugignore",
      "./Procfile",
      "./gitwharf.yml",
      "./made.txt",
    ]);
    expect(await stage.workspace.run("ls-remote", stage.url, "refs/heads/main")).toContain(oid);
    // Nothing stays but the slug, the cache and the output.
    expect(existsSync(join(stage.deploy.state.directories.root, "builds", release?.buildId ?? "x"))).toBe(
      false,
    );
  });

  it("is refused when the build fails, and the ref stays", async () => {
    await stage.start();
    await stage.commit({ "gitwharf.yml": "build: 'echo broken; exit 3'\n" });
    const result = await stage.push();
    expect(result.status).not.toBe(0);
    expect(said(result)).toContain(
      "       broken\n !     Build failed: the build command failed: it exited with status 3.\n",
    );
    expect(said(result)).toContain(
      " !     Push rejected: the build command failed: it exited with status 3.\n",
    );
    expect(result.stderr).toContain("! [remote rejected] main -> main (build failed)");
    expect(await stage.releases()).toEqual([]);
    expect((await stage.workspace.try("ls-remote", stage.url)).stdout).not.toContain("main");
  });

  it("is accepted all the same where that is wanted, and leaves a release that failed", async () => {
    await stage.start({ onBuildFailure: "accept" });
    const oid = await stage.commit({ "gitwharf.yml": "build: exit 3\n" });
    const result = await stage.push();
    expect(result.status).toBe(0);
    expect(said(result)).toContain(
      " !     Release v1 failed: the build command failed: it exited with status 3.\n",
    );
    expect(await stage.releases()).toMatchObject([
      { number: 1, status: "failed", commit: oid, slugPath: "" },
    ]);
    await stage.commit({ "gitwharf.yml": "build: echo well\n" });
    expect((await stage.push()).status).toBe(0);
    expect(await stage.releases()).toMatchObject([
      { number: 2, status: "current" },
      { number: 1, status: "failed" },
    ]);
  });

  it("is refused when nobody knows how to build it, or its files make no sense", async () => {
    await stage.start();
    await stage.commit({ "main.c": "int main;" });
    expect(said(await stage.push())).toContain("no way to build this was found");
    await stage.commit({ "gitwharf.yml": "static: ../..\n" });
    expect(said(await stage.push())).toContain("gitwharf.yml: static is a directory of what is pushed");
    await stage.commit({ "gitwharf.yml": "build: &x b\nstatic: *x\n" });
    expect(said(await stage.push())).toContain("gitwharf.yml, line 2: aliases are not read here");
  });

  it("serves a static site as it is, or what the build makes of it", async () => {
    await stage.start();
    await stage.commit({ "index.html": "<h1>hello</h1>" });
    expect((await stage.push()).status).toBe(0);
    await stage.commit({ "gitwharf.yml": "build: mkdir -p dist && cp index.html dist\nstatic: dist\n" });
    expect((await stage.push()).status).toBe(0);
    await stage.commit({ "gitwharf.yml": "build: ln -s / dist\nstatic: dist\n" });
    expect(said(await stage.push())).toContain("there is no directory dist to serve");
    expect((await stage.releases()).map(({ processTypes }) => processTypes)).toEqual([
      { static: "dist" },
      { static: "." },
    ]);
  });

  it("does not build other branches and tags", async () => {
    await stage.start();
    await stage.commit({ "gitwharf.yml": "build: exit 1\n" });
    expect((await stage.push("main:feature/x")).status).toBe(0);
    expect((await stage.push("main:refs/tags/v1")).status).toBe(0);
    expect(await stage.builds()).toEqual([]);
  });
});

describe.skipIf(SKIP_SANDBOX)("in the sandbox", () => {
  it("a push is built, and sees nothing of the machine", async () => {
    await stage.start({ executor: createSandboxExecutor() });
    writeFileSync(join(stage.workspace.directory, "secret"), "hidden", { mode: 0o644 });
    const secret = join(stage.workspace.directory, "secret");
    await stage.commit({
      "gitwharf.yml": `build: 'pwd; id -u; cat ${secret} || echo nothing; echo x > made'\n`,
    });
    const result = await stage.push();
    expect(said(result)).toContain("       /tmp/build\n");
    expect(said(result)).toContain("       nothing\n");
    expect(said(result)).not.toContain("hidden");
    expect(result.status).toBe(0);
    const [release] = await stage.releases();
    expect(filesInSlug(release?.slugPath ?? "")).toContain("./made");
  });
});
