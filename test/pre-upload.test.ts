/** preUpload: asked before a pack or an archive goes out, in every version, over every transport. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { HandlerVerdict, Upload } from "../src/index.js";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";
import { pktLine } from "./support/raw-http.js";
import { createSshClient } from "./support/ssh-client.js";
import { listenEverywhere, OPEN_EVERYWHERE, type Transport } from "./support/transports.js";

let workspace: GitClient;
let server: GitServer;
let urls: Record<Transport, string>;
let env: NodeJS.ProcessEnv;
let oid: string;
let answer: (upload: Upload) => HandlerVerdict;
let asked: unknown[] = [];
const logged: string[] = [];

beforeAll(async () => {
  workspace = createWorkspace();
  server = createGitServer({
    repositories: createMemoryRepositoryStore(),
    autoCreate: "push",
    ...OPEN_EVERYWHERE,
    log: ({ level, message }) => void (level === "error" && logged.push(message)),
    handlers: {
      timeoutMs: 500,
      preUpload(upload) {
        const { kind, transport, wants, repository } = upload;
        asked.push([kind, transport, repository.name, wants]);
        return answer(upload);
      },
    },
  });
  const over = await listenEverywhere(server, workspace.directory);
  urls = { http: over.urlOf("http", "app"), ssh: over.urlOf("ssh", "app"), git: over.urlOf("git", "app") };
  ({ env } = over);
  await workspace.run("init", "-q", "app");
  const app = workspace.in("app");
  await app.run("commit", "-q", "--allow-empty", "-m", "first");
  oid = await app.run("rev-parse", "HEAD");
  await app.run("push", "-q", urls.http, "main");
});
afterAll(async () => {
  await server.close({ graceMs: 0 });
  removeDirectory(workspace);
});
beforeEach(() => {
  answer = () => undefined;
  asked = [];
  logged.length = 0;
});

let count = 0;
const clone = (version: number, transport: Transport): Promise<GitResult> =>
  workspace.tryWith(
    { env },
    "-c",
    `protocol.version=${version}`,
    "clone",
    "-q",
    urls[transport],
    `copy${count++}`,
  );

describe("preUpload", () => {
  it.each([
    [0, "http"],
    [2, "http"],
    [0, "ssh"],
    [1, "ssh"],
    [2, "ssh"],
    [0, "git"],
    [2, "git"],
  ] as const)("lets pass and refuses with protocol v%i over %s", async (version, transport) => {
    expect(await clone(version, transport)).toMatchObject({ status: 0 });
    expect(asked).toEqual([["fetch", transport, "app", [oid]]]);
    answer = () => "closed for the night";
    const { status, stderr } = await clone(version, transport);
    expect([status, stderr]).toEqual([128, expect.stringContaining("remote error: closed for the night")]);
    expect(logged).toEqual([]);
  });

  it("lets a git that still writes over SSH read why", async () => {
    answer = () => "closed for the night";
    const { port } = new URL(urls.ssh);
    const { arguments: args } = createSshClient({ directory: workspace.directory, port: Number(port) });
    const ssh = spawn("ssh", [...args, "-p", port, "git@127.0.0.1", "git-upload-pack '/app.git'"], {
      stdio: ["pipe", "pipe", "ignore"],
      env: { PATH: process.env["PATH"], HOME: workspace.directory },
    });
    let broken: unknown;
    ssh.stdin.on("error", (error) => (broken = error));
    const told = new Promise<void>((resolve) => {
      let text = "";
      ssh.stdout.on("data", (chunk: Buffer) => {
        text += chunk.toString("latin1");
        if (text.includes("ERR closed for the night")) resolve();
      });
    });
    const closed = once(ssh, "close");
    ssh.stdin.write(`${pktLine(`want ${oid}\n`)}0000${pktLine("done\n")}`);
    await told;
    // More than any pipe and window between here and there holds.
    await new Promise<void>((resolve) => ssh.stdin.end(Buffer.alloc(8 * 1024 * 1024), () => resolve()));
    expect([broken, (await closed)[0]]).toEqual([undefined, 128]);
  });

  it("is asked about archives", async () => {
    const archive = (): Promise<GitResult> =>
      workspace.tryWith({ env }, "archive", `--remote=${urls.ssh}`, "main");
    expect((await archive()).status).toBe(0);
    expect(asked).toEqual([["archive", "ssh", "app", [oid]]]);
    answer = () => "no archives";
    expect((await archive()).stderr).toContain("no archives");
  });

  it.each([
    ["throws", () => Promise.reject(new Error("secret"))],
    ["says neither", () => false as unknown as undefined],
  ])("refuses when it %s", async (_, said) => {
    answer = said;
    const { stderr } = await clone(2, "http");
    expect(stderr).toContain("remote error: pre-upload hook declined");
    expect(stderr).not.toContain("secret");
  });

  it("refuses when it takes too long, and its signal fires", async () => {
    let signal: AbortSignal | undefined;
    answer = (upload) => {
      ({ signal } = upload);
      return new Promise<undefined>(() => undefined);
    };
    expect((await clone(2, "http")).stderr).toContain("remote error: pre-upload hook declined (request ");
    expect([signal?.aborted, logged]).toEqual([true, ["the preUpload handler failed in a fetch from app"]]);
  });
});
