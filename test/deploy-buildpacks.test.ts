/** Buildpacks, ours and public ones, called as Heroku calls them, by pushes of the real client. */
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
