/** Releases brought to life with real processes: swaps under load, crashes, releases that do not come up. */
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { request, type IncomingMessage } from "node:http";
import { once } from "node:events";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createAppLog } from "./app-log.js";
import { createLauncher, type Launcher, type LauncherOptions } from "./launcher.js";
import { createWorkshop, plainRunner, releaseOf, until, type Workshop } from "./launch.test.support.js";
import type { LaunchRelease } from "./launch-release.js";
import { logDirectoryOf } from "./places.js";
import { readLog } from "./read-log.js";
import { type ProcessHost, superviseProcess } from "./supervised-process.js";

const NODE = process.execPath;
const SERVER = `
const { createServer } = require("node:http");
const server = createServer((request, response) => {
  if (request.url === "/slow") setTimeout(() => response.end(process.env.TEXT), 300);
  else if (request.url === "/end") process.exit(7);
  else if (request.url === "/health") response.writeHead(500).end();
  else response.end(process.env.TEXT + " " + process.env.PS + " " + process.env.GITWHARF_RELEASE);
});
server.listen(process.env.PORT, "127.0.0.1", () => console.log("listening"));
process.on("SIGTERM", () => { console.log("going"); server.close(() => process.exit(0)); });
`;

let workshop: Workshop;
let launcher: Launcher;
beforeEach(() => {
  workshop = createWorkshop();
  open();
});
afterEach(async () => {
  await launcher.close();
  workshop.remove();
});

function open(options: Partial<LauncherOptions> = {}): void {
  launcher = createLauncher({
    directory: join(workshop.directory, "apps"),
    runner: plainRunner,
    log: () => undefined,
    restartDelayMs: () => 10,
    ...options,
  });
}

function nodeRelease(text: string, given: Partial<LaunchRelease> = {}): LaunchRelease {
  return releaseOf({
    slugPath: workshop.slug({ "server.js": SERVER }),
    processTypes: { web: `${NODE} server.js`, worker: "echo working; sleep 600" },
    config: { TEXT: text },
    ...given,
  });
}

async function get(port: number, path: string): Promise<string> {
  const asked = request({ port, host: "127.0.0.1", path, agent: false });
  asked.end();
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  let body = "";
  for await (const chunk of answer as AsyncIterable<Buffer>) body += chunk.toString();
  return body;
}

function webOf(app = "shop"): readonly number[] {
  const target = launcher.targetOf(app);
  if (target?.kind !== "processes") return [];
  return target.processes().flatMap(({ port }) => port ?? []);
}

async function logOf(app = "shop"): Promise<string> {
  const lines: string[] = [];
  const directory = logDirectoryOf(join(workshop.directory, "apps"), app);
  for await (const line of readLog(directory, { lines: 1000 })) lines.push(line.slice(25));
  return lines.join("\n");
}

describe("launching", () => {
  it("starts what the formation says and sends requests to it", async () => {
    const release = nodeRelease("one");
    await launcher.launch(release, { formation: { web: 2, worker: 1, gone: 3 } });
    expect(launcher.processes("shop")?.map(({ name }) => name)).toEqual(["web.1", "web.2", "worker.1"]);
    const texts = await Promise.all(webOf().map((port) => get(port, "/")));
    expect(texts.toSorted()).toEqual([`one web.1 v${release.number}`, `one web.2 v${release.number}`]);
    await until(async () => (await logOf()).includes("app[worker.1]: working"));
    expect(await logOf()).toContain("app[web.1]: listening");
  });

  it("swaps without a request lost, and ends what was at work only when it is through", async () => {
    await launcher.launch(nodeRelease("one"));
    const [before = 0] = webOf();
    const target = launcher.targetOf("shop");
    const old = target?.kind === "processes" ? target.processes()[0] : undefined;
    // As the way in does.
    const leave = old?.requests.begin();
    const slow = get(before, "/slow").finally(leave);
    const failures: unknown[] = [];
    const texts = new Set<string>();
    let isOver = false;
    const callers = Array.from({ length: 4 }, async () => {
      while (!isOver) {
        const now = launcher.targetOf("shop");
        const process =
          now?.kind === "processes" ? now.processes().find(({ port }) => port !== undefined) : undefined;
        const done = process?.requests.begin();
        await get(process?.port ?? 0, "/").then(
          (text) => texts.add(text.split(" ", 1)[0] ?? ""),
          (error: unknown) => failures.push(error),
        );
        done?.();
      }
    });
    try {
      await launcher.launch(nodeRelease("two"));
      const [after = 0] = webOf();
      expect(await get(after, "/")).toMatch(/^two /);
    } finally {
      isOver = true;
      await Promise.all(callers);
    }
    expect(failures).toEqual([]);
    expect(await slow).toBe("one");
    await until(async () => (await logOf()).includes("app[web.1]: going"));
    // Its files go with it.
    await until(() => readdirSync(join(workshop.directory, "apps", "shop", "releases")).length === 1);
  });

  it("leaves everything as it was when the new release ends at once, or does not listen", async () => {
    await launcher.launch(nodeRelease("one"), { formation: { web: 1 } });
    const ends = launcher.launch(nodeRelease("two", { processTypes: { web: "echo oh no; exit 3" } }));
    await expect(ends).rejects.toMatchObject({
      code: "deploy/launch-failed",
      message: "web.1: it ended with status 3",
    });
    expect(await logOf()).toContain("app[web.1]: oh no");
    expect(await logOf()).toMatch(/ v\d+ was not launched: web\.1: it ended with status 3$/);
    expect(await get(webOf()[0] ?? 0, "/")).toMatch(/^one /);
    await launcher.close();
    open({ health: { timeoutMs: 100 } });
    await launcher.launch(nodeRelease("one", { processTypes: {} }));
    const silent = launcher.launch(nodeRelease("three", { processTypes: { web: "sleep 600" } }));
    await expect(silent).rejects.toThrow(
      "the web process was to be one that listens on PORT within 0.1 seconds",
    );
    expect(await logOf()).toContain("Error R10 (Boot timeout)");
    expect(readdirSync(join(workshop.directory, "apps", "shop", "releases"))).toHaveLength(1);
  });

  it("asks the path that an app names for its health", async () => {
    const release = (path: string): LaunchRelease =>
      nodeRelease("one", { config: { TEXT: "one", HEALTH_PATH: path } });
    await launcher.launch(release("/"));
    await launcher.close();
    open({ health: { timeoutMs: 100 } });
    // Whether it answers 500 by then or not at all: what is said of either is held beside the check itself.
    await expect(launcher.launch(release("/health"))).rejects.toThrow(
      "answers GET /health within 0.1 seconds",
    );
  });

  it("starts a process again that has ended, and sends nobody to it meanwhile", async () => {
    await launcher.launch(nodeRelease("one"));
    const [port = 0] = webOf();
    await get(port, "/end").catch(() => undefined);
    await until(() => (launcher.processes("shop")?.[0]?.restarts ?? 0) > 0 && webOf().length === 1);
    expect(await get(webOf()[0] ?? 0, "/")).toMatch(/^one web\.1 /);
    expect(await logOf()).toContain(
      "Process has ended: it ended with status 7; starting it again in 0.01 seconds",
    );
  });

  it("changes the number of processes, and no other", async () => {
    await launcher.launch(nodeRelease("one"));
    await launcher.scale("shop", { web: 3, worker: 1 });
    expect(webOf()).toHaveLength(3);
    await launcher.scale("shop", { web: 1 });
    expect(launcher.processes("shop")?.map(({ name }) => name)).toEqual(["web.1", "worker.1"]);
    await expect(launcher.scale("shop", { web: 101 })).rejects.toMatchObject({
      code: "protocol/bad-request",
    });
    await expect(launcher.scale("shop", { constructor: 1 })).rejects.toThrow("no processes 'constructor'");
    await expect(launcher.scale("nobody", { web: 1 })).rejects.toMatchObject({ code: "storage/not-found" });
  });

  it("writes nothing of a command into the log that a terminal would act on", async () => {
    const worker = "exec sleep 600 # \x1b]0;title\x07\n2026-11-21T10:00:00.000Z gitwharf[web.1]: a lie";
    await launcher.launch(nodeRelease("one", { processTypes: { worker } }), { formation: { worker: 1 } });
    await until(async () => (await logOf()).includes("a lie"));
    const lines = (await logOf()).split("\n").filter((line) => /sleep 600|a lie/.test(line));
    expect(lines).toEqual([
      "gitwharf[worker.1]: Starting process with command `exec sleep 600 # ]0;title",
      "gitwharf[worker.1]: 2026-11-21T10:00:00.000Z gitwharf[web.1]: a lie`",
    ]);
  });

  it("launches one release after the other", async () => {
    const both = [nodeRelease("one"), nodeRelease("two")];
    await Promise.all(both.map((release) => launcher.launch(release)));
    expect(launcher.releaseOf("shop")?.id).toBe(both[1]?.id);
    expect(await get(webOf()[0] ?? 0, "/")).toMatch(/^two /);
  });

  it("gives a launch up with who asked for it, and with the server", async () => {
    const left = new AbortController();
    const silent = nodeRelease("one", { processTypes: { web: "sleep 600" } });
    const launch = launcher.launch(silent, { signal: left.signal });
    await until(async () => existsSync(logDirectoryOf(join(workshop.directory, "apps"), "shop")));
    left.abort();
    await expect(launch).rejects.toMatchObject({ code: "base/aborted" });
    const another = launcher.launch({ ...silent, app: "other" });
    const outcome = expect(another).rejects.toThrow();
    await launcher.close();
    await outcome;
  });

  it("brings back what ran, also when it does not come up at once", async () => {
    const release = nodeRelease("one", {
      processTypes: { web: `test -f ../../ready || exit 1; ${NODE} server.js` },
    });
    await launcher.restore(release, { web: 1 });
    expect(webOf()).toEqual([]);
    writeFileSync(join(workshop.directory, "apps", "shop", "ready"), "");
    await until(() => webOf().length === 1);
  });

  it("runs a command beside them, with the files and the configuration", async () => {
    await launcher.launch(nodeRelease("one"));
    let output = "";
    const end = await launcher.run({
      app: "shop",
      command: 'ls; echo "$TEXT $PS"; exit 5',
      signal: new AbortController().signal,
      onOutput: (chunk) => {
        output += Buffer.from(chunk).toString();
      },
    });
    expect([end.status, output]).toEqual([5, "server.js\none run.1\n"]);
    const left = new AbortController();
    const running = launcher.run({
      app: "shop",
      command: "sleep 600",
      signal: left.signal,
      onOutput: () => undefined,
    });
    left.abort();
    expect((await running).status).toBeUndefined();
  });

  it("ends what was run beside them when the app is removed, and leaves nothing of it", async () => {
    await launcher.launch(nodeRelease("one"));
    let begun: (() => void) | undefined;
    const isBegun = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const running = launcher.run({
      app: "shop",
      command: "trap 'echo bye; exit 0' TERM; while true; do echo here; sleep 0.05; done",
      signal: new AbortController().signal,
      onOutput: () => begun?.(),
    });
    await isBegun;
    await launcher.remove("shop");
    expect(await running).toBeDefined();
    expect(readdirSync(join(workshop.directory, "apps"))).toEqual([]);
    // The next of its name is another app.
    await launcher.launch(nodeRelease("two"));
    const again = { app: "shop", signal: new AbortController().signal, onOutput: () => undefined };
    expect((await launcher.run({ ...again, command: "exit 4" })).status).toBe(4);
  });

  it("serves a static site without a process", async () => {
    const site = releaseOf({
      slugPath: workshop.slug({ "public/index.html": "hello" }),
      processTypes: { static: "public" },
    });
    await launcher.launch(site);
    expect(launcher.targetOf("shop")?.kind).toBe("site");
    expect(launcher.processes("shop")).toEqual([]);
    const gone = launcher.launch({ ...site, processTypes: { static: "../../.." } });
    await expect(gone).rejects.toMatchObject({ code: "deploy/launch-failed" });
    expect(launcher.targetOf("shop")?.kind).toBe("site");
  });
});

describe("a process", () => {
  it("that prints without end waits for its log", async () => {
    const log = createAppLog({ directory: join(workshop.directory, "log") });
    let pending = 0;
    let most = 0;
    const host: ProcessHost = {
      runner: plainRunner,
      health: {},
      environment: { PATH: process.env["PATH"] ?? "" },
      log: {
        ...log,
        async write(source, lines) {
          pending++;
          most = Math.max(most, pending);
          await log.write(source, lines);
          pending--;
        },
      },
    };
    const release = nodeRelease("x");
    const order = { release, directory: workshop.directory, type: "worker", index: 1 };
    const supervised = superviseProcess(host, order, "yes");
    await supervised.firstUp;
    await until(() => most > 0);
    await supervised.stop();
    await log.close();
    // One chunk of each output, and a word of the supervisor's.
    expect(most).toBeLessThanOrEqual(3);
  });
});
