/** The command line as a person meets it: banner, exit codes, refusals, stopping. */
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "node:tls";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { writeCertificate } from "./support/certificate.js";
import { createWorkspace, removeDirectory, type GitClient } from "./support/git-client.js";
import { openRequest, type OpenRequest, postHead } from "./support/open-request.js";

const CLI = fileURLToPath(new URL("../src/cli/gitwharf.js", import.meta.url));

/** Half of the probe that git sends before a push: the server is at work on it and waits for the rest. */
async function openPush(url: string): Promise<OpenRequest> {
  const head = postHead("git-receive-pack", { length: 4, headers: ["Expect: 100-continue"] });
  const push = await openRequest(url, head);
  await push.seen(/100 Continue\r\n\r\n/);
  push.write("00");
  return push;
}

describe("gitwharf", () => {
  let workspace: GitClient;
  const running = new Set<ChildProcess>();

  beforeEach(() => {
    workspace = createWorkspace();
  });
  afterEach(() => {
    for (const child of running) child.kill("SIGKILL");
    running.clear();
    removeDirectory(workspace);
  });

  function start(...args: readonly string[]): ChildProcess & { readonly printed: () => string } {
    const child = spawn(process.execPath, [CLI, ...args], {
      cwd: workspace.directory,
      stdio: ["ignore", "pipe", "pipe"],
    });
    running.add(child);
    let text = "";
    child.stdout?.on("data", (chunk: Buffer) => (text += chunk.toString()));
    child.stderr?.on("data", (chunk: Buffer) => (text += chunk.toString()));
    return Object.assign(child, { printed: () => text });
  }

  function ended(child: ChildProcess): Promise<number | null> {
    return new Promise((resolve) => child.once("close", (status) => resolve(status)));
  }

  async function run(...args: readonly string[]): Promise<{ status: number | null; text: string }> {
    const child = start(...args);
    return { status: await ended(child), text: child.printed() };
  }

  it("leaves out, without a word, the help that nobody reads any more", async () => {
    for (const args of [["--help"], ["storage", "gc", "--help"]]) {
      const child = start(...args);
      child.stdout?.destroy();
      expect([await ended(child), child.printed()]).toEqual([0, ""]);
    }
  });

  it("ends without a word when nobody reads what it prints any more", async () => {
    const database = `sqlite:${workspace.directory}/access.sqlite`;
    expect(await run("user", "add", "ada", "--database", database)).toMatchObject({ status: 0 });
    const child = start("user", "list", "--database", database);
    child.stdout?.destroy();
    expect([await ended(child), child.printed()]).toEqual([0, ""]);
  });

  async function serve(
    ...args: readonly string[]
  ): Promise<{ child: ReturnType<typeof start>; url: string; banner: string }> {
    const child = start("serve", "--http", "127.0.0.1:0", "--ssh", "off", ...args);
    for (let waited = 0; waited < 30_000; waited += 20) {
      const url = /on (http:\/\/\S+)/.exec(child.printed())?.[1];
      if (url !== undefined && child.printed().includes("Ctrl-C"))
        return { child, url, banner: child.printed() };
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`the server did not start: ${child.printed()}`);
  }

  async function untilPrinted(child: { readonly printed: () => string }, text: string): Promise<void> {
    for (let waited = 0; waited < 30_000 && !child.printed().includes(text); waited += 20)
      await new Promise((resolve) => setTimeout(resolve, 20));
    expect(child.printed()).toContain(text);
  }

  it("serves ./repositories, says that it is open, and what to try; the tour works", async () => {
    const { child, url, banner } = await serve();
    expect(banner).toContain(join(workspace.directory, "repositories"));
    expect(banner).toContain("anyone on this machine can read and push");
    const commands = banner.split("\n").filter((line) => line.startsWith("  git "));
    expect(commands).toHaveLength(4);
    expect(commands.join("\n")).toContain(`git push ${url}/demo.git main`);
    await workspace.run("init", "-q", "-b", "main", "demo");
    await workspace.in("demo").run("commit", "-q", "--allow-empty", "-m", "First commit");
    await workspace.in("demo").run("push", "-q", `${url}/demo.git`, "main");
    await workspace.run("clone", "-q", `${url}/demo.git`, "copy");
    await workspace.in("copy").run("pull", "-q");
    child.kill("SIGINT");
    expect(await ended(child)).toBe(0);
    expect((await workspace.try("-C", "repositories/demo.git", "fsck", "--strict")).status).toBe(0);
  });

  it("makes nothing with --no-auto-create, and says how to make it", async () => {
    const { url, banner } = await serve("--no-auto-create", "elsewhere");
    expect(banner).toContain("gitwharf init NAME");
    await workspace.run("init", "-q", "demo");
    await workspace.in("demo").run("commit", "-q", "--allow-empty", "-m", "first");
    const refused = await workspace.in("demo").try("push", `${url}/demo.git`, "main");
    expect(refused.stderr).toContain("not found");
    expect(await run("init", "demo", "-d", "elsewhere")).toMatchObject({ status: 0 });
    await workspace.in("demo").run("push", "-q", `${url}/demo.git`, "main");
  });

  it("clones an empty repository that does not exist yet with --auto-create read", async () => {
    const { url } = await serve("--auto-create", "read");
    const cloned = await workspace.try("clone", `${url}/test.git`, "test");
    expect(cloned.status).toBe(0);
    expect(cloned.stderr).toContain("empty repository");
  });

  it("makes repositories with reftables with --ref-format", async () => {
    const { url } = await serve("--ref-format", "reftable", "tables");
    await workspace.run("init", "-q", "demo");
    await workspace.in("demo").run("commit", "-q", "--allow-empty", "-m", "first");
    await workspace.in("demo").run("push", "-q", `${url}/demo.git`, "HEAD:refs/heads/main");
    expect(existsSync(join(workspace.directory, "tables/demo.git/reftable/tables.list"))).toBe(true);
    await workspace.run("clone", "-q", `${url}/demo.git`, "copy");
  });

  it("refuses to listen beyond loopback without authentication, and explains", async () => {
    const { status, text } = await run("serve", "--http", "0.0.0.0:0");
    expect(status).toBe(2);
    expect(text).toContain("everyone who reaches this address could read and push");
    expect(text).not.toContain("    at ");
  });

  it("refuses a directory that is none before it serves", async () => {
    writeFileSync(join(workspace.directory, "file"), "");
    for (const place of ["file", "file/below"]) {
      expect(await run("serve", place, "--http", "127.0.0.1:0")).toMatchObject({
        status: 2,
        text: expect.stringContaining("repositories cannot be kept in"),
      });
    }
  });

  it("lets a request finish when it is told to stop, and stays no longer for its connection", async () => {
    const { child, url } = await serve("--grace", "1000000000", "--auto-create", "read");
    const push = await openPush(url);
    child.kill("SIGINT");
    await untilPrinted(child, "1 requests may finish");
    push.write("00");
    expect(await push.closed).toContain("HTTP/1.1 200 OK");
    expect(await ended(child)).toBe(0);
  }, 10_000);

  it("serves HTTPS, and takes a new certificate on SIGHUP", async () => {
    const { certificateFile, keyFile } = await writeCertificate(workspace.directory, "first.localhost");
    const files = ["--tls-cert", certificateFile, "--tls-key", keyFile];
    const child = start("serve", "--http", "127.0.0.1:0", "--ssh", "off", "--auto-create", "read", ...files);
    await untilPrinted(child, "Ctrl-C");
    const url = /on (https:\/\/\S+)/.exec(child.printed())?.[1] ?? "";
    await workspace.run("-c", "http.sslVerify=false", "ls-remote", `${url}/demo.git`);
    const commonName = (): Promise<string> =>
      new Promise((resolve, reject) => {
        const socket = connect({ port: Number(new URL(url).port), rejectUnauthorized: false }, () => {
          resolve(String(socket.getPeerCertificate().subject.CN));
          socket.destroy();
        });
        socket.on("error", reject);
      });
    expect(await commonName()).toBe("first.localhost");
    await writeCertificate(workspace.directory, "second.localhost");
    child.kill("SIGHUP");
    for (let asked = 0; asked < 1000 && (await commonName()) === "first.localhost"; asked++)
      await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await commonName()).toBe("second.localhost");
    writeFileSync(keyFile, "no key");
    child.kill("SIGHUP");
    await untilPrinted(child, "the certificate was not reloaded");
    expect(await commonName()).toBe("second.localhost");
    child.kill("SIGINT");
    expect(await ended(child)).toBe(0);
  });

  it("stops at once when it is told to stop again", async () => {
    const { child, url } = await serve("--grace", "1000", "--auto-create", "read");
    const push = await openPush(url);
    child.kill("SIGINT");
    await untilPrinted(child, "1 requests may finish");
    child.kill("SIGINT");
    expect(await ended(child)).toBe(0);
    expect(await push.closed).not.toContain("200 OK");
  }, 10_000);

  it("reads a configuration module, and names a wrong option", async () => {
    writeFileSync(
      join(workspace.directory, "gitwharf.config.mjs"),
      `export default { repositories: "configured", collisionDetection: true, authenticate: (c) => c.password === "x" ? { user: c.user } : undefined };`,
    );
    const { url } = await serve("--config", "gitwharf.config.mjs", "--no-collision-detection");
    const listed = await workspace.try("ls-remote", `${url}/demo.git`);
    expect(listed.stderr).toMatch(/could not read Username|terminal prompts disabled/);
    writeFileSync(join(workspace.directory, "wrong.json"), `{"repositorys": "x"}`);
    const wrong = await run("serve", "--config", "wrong.json");
    expect(wrong.status).toBe(2);
    expect(wrong.text).toContain("there is no option 'repositorys'");
    writeFileSync(join(workspace.directory, "unknown.json"), `{"refFormat": "paper"}`);
    const unknown = await run("serve", "--config", "unknown.json");
    expect(unknown).toMatchObject({
      status: 2,
      text: expect.stringContaining("refFormat 'paper' is not known"),
    });
  });

  it("makes and checks repositories", async () => {
    expect(await run("init", "group/app", "-d", "r", "--object-format", "sha256")).toMatchObject({
      status: 0,
    });
    expect((await workspace.try("-C", "r/group/app.git", "fsck")).status).toBe(0);
    const again = await run("init", "group/app", "-d", "r");
    expect(again.status).toBe(1);
    expect(again.text).toContain("exists");
    expect(await run("init", "tables", "-d", "r", "--ref-format", "reftable")).toMatchObject({ status: 0 });
    expect(existsSync(join(workspace.directory, "r/tables.git/reftable/tables.list"))).toBe(true);
    expect(await run("init", "other", "-d", "r", "--ref-format", "paper")).toMatchObject({ status: 2 });
    expect(await run("fsck", "tables", "-d", "r")).toMatchObject({ status: 0 });
    expect(await run("init", "../x", "-d", "r")).toMatchObject({ status: 2 });
    const clean = await run("fsck", "group/app", "-d", "r");
    expect(clean).toMatchObject({ status: 0 });
    expect(clean.text).toContain("0 errors");
    expect((await run("fsck", "nothing", "-d", "r")).text).toContain("there is no repository 'nothing'");
  });

  it("finds what is broken", async () => {
    await run("init", "app", "-d", "r");
    await workspace.run("init", "-q", "work");
    await workspace.in("work").run("commit", "-q", "--allow-empty", "-m", "first");
    await workspace.in("work").run("push", "-q", join(workspace.directory, "r/app.git"), "main");
    const objects = join(workspace.directory, "r/app.git/objects");
    const fanout = readdirSync(objects).find((name) => /^[0-9a-f]{2}$/.test(name)) ?? "";
    const file = join(objects, fanout, readdirSync(join(objects, fanout))[0] ?? "");
    expect(existsSync(file)).toBe(true);
    await workspace.run("-C", "work", "version");
    writeFileSync(`${file}.new`, "not an object");
    const { renameSync } = await import("node:fs");
    renameSync(`${file}.new`, file);
    const { status, text } = await run("fsck", "app", "-d", "r");
    expect(status).toBe(1);
    expect(text).toContain("error");
  });

  it.each([0, 1, 2])("serves git clone -u and git push --receive-pack with protocol v%i", async (version) => {
    await run("init", "app", "-d", "r");
    const path = join(workspace.directory, "r/app.git");
    const protocol = ["-c", `protocol.version=${version}`];
    await workspace.run("init", "-q", "work");
    const work = workspace.in("work");
    await work.run("commit", "-q", "--allow-empty", "-m", "first");
    await work.run(
      ...protocol,
      "push",
      "-q",
      `--receive-pack=${process.execPath} ${CLI} receive-pack${version === 0 ? "" : " --no-collision-detection"}`,
      path,
      "main",
    );
    await workspace.run(
      ...protocol,
      "clone",
      "-q",
      "--no-local",
      "-u",
      `${process.execPath} ${CLI} upload-pack`,
      path,
      "copy",
    );
    expect(await workspace.in("copy").run("rev-parse", "HEAD")).toBe(await work.run("rev-parse", "HEAD"));
  });

  it("explains itself, and exits with 2 for what it does not know", async () => {
    const help = await run("--help");
    expect(help.status).toBe(0);
    for (const command of ["serve", "init", "fsck", "maintenance", "upload-pack", "receive-pack"])
      expect(help.text).toContain(command);
    expect((await run("serve", "--help")).text).toContain("--no-auto-create");
    expect((await run("maintenance", "run", "--help")).text).toContain("Fold the small packs");
    expect(await run("maintenance", "run", "app", "--nonsense")).toMatchObject({ status: 2 });
    expect(await run("nonsense")).toMatchObject({ status: 2 });
    expect(await run("serve", "--limit", "x")).toMatchObject({ status: 2 });
    expect((await run("serve", "--limit", "nothing=1")).text).toContain("there is no limit 'nothing'");
    expect(await run()).toMatchObject({ status: 2 });
  });
});
