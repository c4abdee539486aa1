/** Push to deploy with the real client: what is built and how, what the pusher sees, what is refused. */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
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

describe("buildpacks", () => {
  it("are asked in order, and called as Heroku calls them", async () => {
    await stage.start({
      stack: "heroku-22",
      buildpacks: [
        { name: "no", directory: stage.buildpack("no", { detect: "exit 1", compile: "exit 1" }).directory },
        stage.buildpack("yes", {
          detect: '[ -f "$1/package.json" ] && echo Node.js',
          compile: [
            'echo "-----> Installing for $STACK $SOURCE_VERSION"',
            'echo "       $(cat "$3/GREETING")"',
            'echo "       cached: $(cat "$2/count" 2>/dev/null)"',
            'echo x >> "$2/count"; echo made > "$1/made"',
          ].join("\n"),
          release:
            "echo '---'; echo 'default_process_types:'; echo '  web: npm start'; echo 'config_vars:'; echo '  NODE_ENV: production'",
        }),
      ],
    });
    await stage.deploy.state.setVariable(await stage.shop(), "GREETING", "hello there");
    const oid = await stage.commit({ "package.json": "{}" });
    const result = await stage.push();
    expect(result.status).toBe(0);
    expect(said(result)).toContain(
      "-----> Using buildpack: yes\n-----> Node.js app detected\n" +
        `-----> Installing for heroku-22 ${oid}\n       hello there\n       cached:\n`,
    );
    expect(await stage.releases()).toMatchObject([
      { processTypes: { web: "npm start" }, config: { GREETING: "hello there", NODE_ENV: "production" } },
    ]);
    await stage.commit({ "other.txt": "x" });
    expect(said(await stage.push())).toContain("       cached: x\n");
  });

  it("are fetched from where it is allowed, and from nowhere else", async () => {
    await stage.workspace.run("init", "-q", "pack");
    const pack = stage.workspace.in("pack");
    stage.buildpack("pack", { detect: "echo Fetched", compile: "echo compiled" });
    await pack.run("add", "-A");
    await pack.run("commit", "-q", "-m", "x");
    await stage.start({ allowedBuildpacks: [`file://${stage.workspace.directory}/*`] });
    await stage.commit({ x: "y" });
    await stage.deploy.state.setVariable(
      await stage.shop(),
      "BUILDPACK_URL",
      `file://${stage.workspace.directory}/pack#main`,
    );
    const result = await stage.push();
    expect(said(result)).toContain("-----> Fetched app detected\ncompiled\n");
    expect(result.status).toBe(0);
    await stage.deploy.state.setVariable(await stage.shop(), "BUILDPACK_URL", "file:///etc");
    await stage.commit({ x: "z" });
    expect(said(await stage.push())).toContain("the buildpack file:///etc is not allowed here");
  });

  it("refuse a push when compile fails or bin/release prints nonsense", async () => {
    await stage.start({ buildpacks: [stage.buildpack("p", { detect: "echo X", compile: "exit 2" })] });
    await stage.commit({ x: "y" });
    expect(said(await stage.push())).toContain(
      " !     Push rejected: bin/compile failed: it exited with status 2.\n",
    );
    stage.buildpack("p", { compile: ":", release: "echo 'a: [b'" });
    expect(said(await stage.push())).toMatch(/bin\/release, line \d: Flow sequence .* end with a \]/);
  });
});

describe("the buildpacks of examples/", () => {
  const examples = fileURLToPath(new URL("../../examples/buildpacks/", import.meta.url));
  const all = ["node", "python", "static"].map((name) => ({ name, directory: join(examples, name) }));

  it.each<[string, Record<string, string>, Record<string, string>, string]>([
    [
      "Node.js",
      { "package.json": '{"scripts":{"start":"node x.js","build":"echo built"}}', "x.js": "" },
      { web: "npm start" },
      "-----> Build\n       built\n",
    ],
    [
      "Python",
      { "requirements.txt": "", "app.py": "print(1)" },
      { web: "python3 app.py" },
      "-----> Using Python 3",
    ],
    ["Static site", { "public/index.html": "x" }, { static: "public" }, "-----> 1 files to serve\n"],
  ])("build a %s app", async (framework, files, processTypes, text) => {
    await stage.start({ buildpacks: all });
    await stage.commit(files);
    const result = await stage.push();
    expect(said(result)).toContain(`-----> ${framework} app detected\n`);
    expect(said(result)).toContain(text);
    expect(result.status).toBe(0);
    expect(await stage.releases()).toMatchObject([{ processTypes }]);
  });
});

describe("public buildpacks, as they are", () => {
  const packs = fileURLToPath(new URL("../../test/buildpacks/", import.meta.url));
  const all = ["heroku-inline", "heroku-multi-procfile"].map((name) => ({
    name,
    directory: join(packs, name),
  }));
  const executors = ["plain", ...(SKIP_SANDBOX ? [] : ["sandbox"])];

  it.each(executors)("heroku-buildpack-inline: an app that builds itself (%s)", async (executor) => {
    await stage.start({
      buildpacks: all,
      ...(executor === "sandbox" ? { executor: createSandboxExecutor() } : {}),
    });
    await stage.commit({
      "bin/detect": '#!/bin/sh\n[ -f "$1/app.txt" ] && echo Ours\n',
      "bin/compile": '#!/bin/sh\necho "-----> Making it"\ncp "$1/app.txt" "$1/made.txt" && ls "$2" "$3"\n',
      "bin/release": '#!/bin/sh\necho "---"; echo "default_process_types:"; echo "  web: cat made.txt"\n',
      "app.txt": "x",
    });
    await stage.deploy.state.setVariable(await stage.shop(), "GREETING", "hello");
    const result = await stage.push();
    expect(said(result)).toContain(
      "-----> Using buildpack: heroku-inline\n-----> Ours app detected\n-----> Making it\n",
    );
    expect(said(result)).toContain("GREETING\n");
    expect(result.status).toBe(0);
    const [release] = await stage.releases();
    expect(release?.processTypes).toEqual({ web: "cat made.txt" });
    expect(filesInSlug(release?.slugPath ?? "")).toContain("./made.txt");
  });

  it("heroku-buildpack-inline: passes an app on that does not build itself", async () => {
    const next = stage.buildpack("next", { detect: "echo Next", compile: ":" });
    await stage.start({ buildpacks: [all[0] as (typeof all)[number], next] });
    await stage.commit({ x: "y" });
    expect(said(await stage.push())).toContain("-----> Using buildpack: next\n-----> Next app detected\n");
    await stage.start({ buildpacks: [{ name: "none", directory: stage.workspace.directory }] });
    await stage.commit({ x: "z" });
    expect(said(await stage.push())).toContain("the buildpack has no bin/detect that can be run");
  });

  it("heroku-buildpack-multi-procfile: the Procfile that a variable names", async () => {
    await stage.start({ buildpacks: all });
    await stage.commit({ "backend/Procfile": "web: ./backend\n", Procfile: "web: ./frontend\n" });
    await stage.deploy.state.setVariable(await stage.shop(), "BUILDPACK_URL", "heroku-multi-procfile");
    const refused = await stage.push();
    expect(said(refused)).toContain("       PROCFILE was not set. Aborting\n");
    expect(refused.status).not.toBe(0);
    await stage.deploy.state.setVariable(await stage.shop(), "PROCFILE", "backend/Procfile");
    const result = await stage.push();
    expect(said(result)).toContain("       Copied backend/Procfile as Procfile successfully\n");
    expect(result.status).toBe(0);
    expect(await stage.releases()).toMatchObject([{ processTypes: { web: "./backend" } }]);
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
