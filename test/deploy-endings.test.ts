/** How builds end that do not end well: too slow at each stage, too much, and files that are not what they seem. */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type BuildpackSourceOptions, createBuildpackSources } from "../src/deploy/build/buildpack-source.js";
import { diskUse } from "../src/deploy/executors/disk-use.js";
import { createDeployStage, type DeployStage, filesInSlug, said, until } from "./support/deploy-stage.js";

let stage: DeployStage;
beforeEach(async () => {
  stage = await createDeployStage();
});
afterEach(() => stage.close());

describe("a build that takes too long", () => {
  it.each<[string, Record<string, string>]>([
    ["bin/detect: it ran for more than 0.5 seconds", { detect: "sleep 1000", compile: ":" }],
    ["bin/compile failed: it ran for more than 0.5 seconds", { detect: "echo X", compile: "sleep 1000" }],
    [
      "bin/release failed: it ran for more than 0.5 seconds",
      { detect: "echo X", compile: ":", release: "sleep 1000" },
    ],
  ])("is refused: %s", async (reason, programs) => {
    await stage.start({
      limits: { timeoutMs: 500, killAfterMs: 200 },
      buildpacks: [stage.buildpack("slow", programs)],
    });
    await stage.commit({ x: "y" });
    const result = await stage.push();
    expect(said(result)).toContain(` !     Push rejected: ${reason}.\n`);
    expect(result.status).not.toBe(0);
    expect(await stage.releases()).toEqual([]);
    expect((await stage.builds()).map(({ status }) => status)).toEqual(["failed"]);
  });

  it("is refused when it is to launch for too long, and what it was stays", async () => {
    await stage.start({
      pushTimeoutMs: 1500,
      launch: ({ signal }) =>
        new Promise((_, reject) =>
          signal.addEventListener("abort", () => reject(new Error("its time is up")), { once: true }),
        ),
      log: () => undefined,
    });
    await stage.commit({ "index.html": "x" });
    const result = await stage.push();
    // The branch has moved by then: the push stands, its release does not.
    expect(result.status).toBe(0);
    await until(async () => (await stage.releases())[0]?.status === "failed");
  });
});

describe("a build that says or makes too much", () => {
  it("is refused when it prints without end", async () => {
    await stage.start({ limits: { outputBytesMax: 100_000, killAfterMs: 200 } });
    await stage.commit({ "gitwharf.yml": "build: 'yes'\n" });
    const result = await stage.push();
    expect(said(result)).toContain("the build command failed: it printed more than 100000 bytes");
    // `yes` prints lines of two bytes; what the limit lets through comes whole, each line with git's prefix.
    expect(result.stderr.match(/^remote: +y\b/gm)?.length).toBeLessThanOrEqual(50_000);
    expect(result.stderr.split("\n").length).toBeLessThan(50_100);
  });

  it("is refused when bin/detect or bin/release does, too", async () => {
    await stage.start({ buildpacks: [stage.buildpack("loud", { detect: "yes", compile: ":" })] });
    await stage.commit({ x: "y" });
    expect(said(await stage.push())).toContain("bin/detect: it printed more than 65536 bytes");
    stage.buildpack("loud", { detect: "echo X", release: "yes" });
    expect(said(await stage.push())).toContain("bin/release failed: it printed more than 65536 bytes");
  });

  it("is refused when it fills the disk", async () => {
    await stage.start({ limits: { diskBytesMax: 8 * 2 ** 20, killAfterMs: 200 } });
    await stage.commit({
      "gitwharf.yml":
        "build: 'i=0; while :; do i=$((i+1)); head -c 1000000 /dev/zero > f$i; sleep 0.01; done'\n",
    });
    expect(said(await stage.push())).toContain("it wrote more than 8388608 bytes to the disk");
  });

  it("is seen when it hides what it writes from whoever has to look", async () => {
    const directory = await mkdtemp(join(tmpdir(), "gitwharf-test-"));
    try {
      mkdirSync(join(directory, "hidden"));
      chmodSync(join(directory, "hidden"), 0o300);
      chmodSync(directory, 0o755);
      const use = await diskUse([directory], { diskBytesMax: 1000, diskFilesMax: 1000 });
      // Root is kept out of nothing.
      expect(use).toMatchObject({ files: 1, isHidden: process.getuid?.() !== 0 });
      if (process.getuid?.() !== 0) return;
      const module = new URL("../src/deploy/executors/disk-use.js", import.meta.url).href;
      const program = `process.setuid(65534);
        console.log((await diskUse([${JSON.stringify(directory)}], { diskBytesMax: 1000, diskFilesMax: 1000 })).isHidden);`;
      const said = execFileSync(process.execPath, [
        "--input-type=module",
        "--eval",
        `import { diskUse } from ${JSON.stringify(module)}; ${program}`,
      ]);
      expect(said.toString()).toBe("true\n");
    } finally {
      chmodSync(join(directory, "hidden"), 0o700);
      await rm(directory, { recursive: true, force: true });
    }
  });

  it("is refused when bin/release names what makes no sense", async () => {
    await stage.start({
      buildpacks: [
        stage.buildpack("odd", {
          detect: "echo X",
          compile: ":",
          release: "head -c 60000 /dev/zero | tr '\\0' '{'",
        }),
      ],
    });
    await stage.commit({ x: "y" });
    // As deep as this it takes down who reads it carelessly, and with him the server.
    expect(said(await stage.push())).toContain("bin/release, line 1: nested deeper than 32");
    expect((await stage.push("main:not-deployed")).status).toBe(0);
  });
});

describe("files that a build leaves to the server", () => {
  it("are not read when they are no files", async () => {
    await stage.start();
    const cases: readonly (readonly [string, string])[] = [
      ["ln -sf /etc/passwd Procfile", "Procfile is not a file that can be read"],
      ["mkfifo Procfile", "Procfile is not a file"],
      ["mkdir Procfile", "Procfile is not a file"],
      ["ln -s /etc/passwd .slugignore", ".slugignore is not a file that can be read"],
      ["truncate -s 2M Procfile", "Procfile has more than 1048576 bytes"],
      ["truncate -s 65537 .slugignore", ".slugignore has more than 65536 bytes"],
    ];
    for (const [command, reason] of cases) {
      await stage.commit({ "gitwharf.yml": `build: ${command}\n` });
      const result = await stage.push();
      expect(said(result), command).toContain(` !     Push rejected: ${reason}`);
      expect(result.stderr).not.toContain("root:");
    }
  });

  it("are not read through a link that was pushed", async () => {
    await stage.start();
    symlinkSync("/etc/passwd", join(stage.app.directory, "gitwharf.yml"));
    await stage.commit({ x: "y" });
    const result = await stage.push();
    expect(result.status).not.toBe(0);
    expect(result.stderr).not.toContain("root:");
  });

  it("come into the slug as what they are: links as links, and no pipes and sockets", async () => {
    await stage.start();
    await stage.commit({
      "gitwharf.yml":
        "build: 'ln -s /etc/passwd link; mkfifo pipe; mkdir closed; echo x > closed/x; chmod 0 closed; echo x > \"a b\"'\n",
    });
    const result = await stage.push();
    expect(result.status).toBe(0);
    const [release] = await stage.releases();
    const slug = release?.slugPath ?? "";
    expect(filesInSlug(slug)).toEqual(
      process.getuid?.() === 0
        ? ["./a b", "./closed/", "./closed/x", "./gitwharf.yml", "./link"]
        : expect.not.arrayContaining(["./pipe"]),
    );
  });
});

describe("a buildpack that is fetched", () => {
  let directory: string;
  let server: Server;
  let url: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "gitwharf-test-"));
    const large = join(directory, "large");
    writeFileSync(large, Buffer.alloc(32 * 2 ** 20));
    execFileSync("tar", ["-czf", join(directory, "large.tgz"), "-C", directory, "large"]);
    server = createServer((request, response) => {
      // Never an answer to anything else.
      if (request.url === "/large.tgz" || request.url === "/link.tgz")
        response.end(readFileSync(join(directory, request.url)));
    });
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(async () => {
    server.closeAllConnections();
    server.close();
    await rm(directory, { recursive: true, force: true });
  });
  const fetch = async (name: string, options: BuildpackSourceOptions): Promise<void> => {
    const sources = createBuildpackSources({ allowed: [`${url}/*`], ...options });
    const address = sources.resolve(`${url}/${name}`);
    if (!("url" in address)) throw new Error("it is an address");
    await sources.fetch(address, join(directory, "into"), new AbortController().signal);
  };

  it.each(["pack.tgz", "pack.git"])("is not waited for without end: %s", (name) =>
    expect(fetch(name, { fetchTimeoutMs: 300 })).rejects.toThrow(
      /could not be fetched: it took more than 0\.3 seconds$/,
    ),
  );

  it("takes nothing along that a link in it leads to", async () => {
    const victim = join(directory, "victim");
    mkdirSync(join(victim, "bin"), { recursive: true });
    writeFileSync(join(victim, "bin", "detect"), "the machine's");
    symlinkSync(victim, join(directory, "wrapped"));
    execFileSync("tar", ["-czf", join(directory, "link.tgz"), "-C", directory, "wrapped"]);
    await fetch("link.tgz", {});
    expect(readFileSync(join(victim, "bin", "detect"), "utf8")).toBe("the machine's");
    expect(readdirSync(join(directory, "into"))).toEqual(["wrapped"]);
  });

  it("is not taken when a small archive becomes a large directory", async () => {
    await expect(fetch("large.tgz", { diskBytesMax: 16 * 2 ** 20 })).rejects.toThrow(
      /could not be fetched: it wrote more than 16777216 bytes to the disk$/,
    );
    await expect(fetch("large.tgz", { archiveBytesMax: 1000 })).rejects.toThrow(/has more than 1000 bytes$/);
  });
});
