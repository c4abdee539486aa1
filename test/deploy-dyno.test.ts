/** Builds in the dynos of an Openruko, whose dynos run git itself: its pre-receive is the build. */
import { spawn } from "node:child_process";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { once } from "node:events";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createDynoExecutor, type DeployOptions, type DynoOptions, openDeployment } from "../src/index.js";
import { encodePktLine, FLUSH } from "../src/protocol/wire/pkt-line.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { createGitClient } from "./support/git-client.js";
import { createDeployStage, type DeployStage, said, until } from "./support/deploy-stage.js";
import {
  DYNO_NAME,
  type Openruko,
  type Person,
  runGit,
  SERVER_KEY,
  startOpenruko,
} from "./support/openruko.js";
import { startServeProcess } from "./support/dyno-server.js";
import { runGitwharf } from "./support/run-gitwharf.js";
import { startServe } from "./support/serve-process.js";

let stage: DeployStage;
let openruko: Openruko;
let account: Person;
/** Of what the server logs of its dynos. */
let logged: string[];
beforeEach(async () => {
  stage = await createDeployStage();
  openruko = await startOpenruko(stage.workspace.directory);
  account = openruko.person("builder");
  logged = [];
});
afterEach(async () => {
  try {
    await stage.close();
  } finally {
    await openruko.close();
  }
});

const dynoOptions = (options: Partial<DynoOptions> = {}): DynoOptions => ({
  apiKey: account.apiKey,
  rendezvousSecret: SERVER_KEY,
  apiServerUrl: openruko.apiUrl,
  rendezvousPort: openruko.rendezvousPort,
  rendezvousCaFile: openruko.caFile,
  rendezvousServerName: DYNO_NAME,
  exitTimeoutMs: 20_000,
  ...options,
});
const start = (dyno: Partial<DynoOptions> = {}, options: Partial<DeployOptions> = {}): Promise<void> =>
  stage.start({
    executor: createDynoExecutor(dynoOptions(dyno)),
    log: (text, error) => void logged.push(`${text}: ${String(error)}`),
    ...options,
  });
/** Its dynos have a repository, and a build. */
const dynoOf = async (build: string): Promise<string> => {
  const path = await openruko.app("shop", account);
  writeFileSync(join(path, "hooks/pre-receive"), `#!/bin/sh\nread old new ref\n${build}\n`, { mode: 0o755 });
  return path;
};
const branchOf = (path: string): Promise<string> =>
  createGitClient(path).run("rev-parse", "--verify", "-q", "refs/heads/main");
/** Waits, at most for a while, until `go` has been called. */
const waiting = (): string =>
  `i=0; while [ -d hooks ] && [ ! -e ${stage.workspace.directory}/go ] && [ $i -lt 600 ]; do i=$((i+1)); sleep 0.05; done`;
const go = (): void => writeFileSync(join(stage.workspace.directory, "go"), "");
/** Once the dyno of that number is there. */
const pushAndLeave = async (dyno: number): Promise<void> => {
  const client = spawn("git", ["push", "-q", "--force", stage.url, "main"], {
    cwd: stage.app.directory,
    stdio: "ignore",
    detached: true,
  });
  await openruko.build(dyno);
  process.kill(-(client.pid ?? 0), "SIGKILL");
  await until(() => stage.server.active === 0);
};
/** What the repository of a new app begins with. */
const NO_REFS = Buffer.concat([
  encodePktLine(`${"0".repeat(40)} capabilities^{}\0report-status side-band-64k\n`),
  FLUSH,
]);

describe("builds in dynos", () => {
  it("are shown to the pusher, and become releases that run elsewhere", async () => {
    const there = await dynoOf('echo "-----> Node.js app detected"; echo "       $ref $new" >&2');
    await start();
    const oid = await stage.commit({ "index.js": "1", large: "0123456789abcdef".repeat(200_000) });
    const result = await stage.push();
    expect(said(result)).toContain(`-----> Node.js app detected\n       refs/heads/main ${oid}\n`);
    expect(said(result)).toContain("-----> v1: built and launched by the platform of its dyno\n");
    expect(result.status).toBe(0);
    expect(await branchOf(there)).toBe(oid);
    // Who reads, or pushes something else, needs none.
    expect((await stage.push("main:side")).status).toBe(0);
    await stage.app.run("fetch", "-q", stage.url);
    expect(openruko.asked).toEqual([
      `POST /internal/shop/gitaction?command=git-receive-pack ${account.apiKey}`,
    ]);
    const [dyno] = openruko.builds;
    expect(dyno?.head).toBe(`${SERVER_KEY}\n${dyno?.id}\n`);
    expect(dyno?.told).toBeUndefined();
    expect(await stage.builds()).toMatchObject([{ status: "succeeded", commit: oid }]);
    expect(await stage.releases()).toMatchObject([
      { number: 1, commit: oid, status: "current", slugPath: "elsewhere:dyno" },
    ]);
    let followed = "";
    await stage.deploy.follow("shop", { print: (text) => void (followed += text) });
    expect(followed).toContain("Node.js app detected");
    expect(logged).toEqual([]);
  });

  it("are sent what the dyno lacks, and no more", async () => {
    const there = await dynoOf(
      'echo "got $(cat "$GIT_QUARANTINE_PATH"/pack/*.idx | git show-index | wc -l) objects from $old"',
    );
    // The pack as it came: of loose objects, those that it has already would not be seen.
    await createGitClient(there).run("config", "receive.unpackLimit", "1");
    await start();
    const first = await stage.commit({ a: "1", b: "2", c: "3" });
    expect(said(await stage.push())).toMatch(/got 5 objects from 0{40}/);
    const second = await stage.commit({ a: "4" });
    expect(said(await stage.push())).toContain(`got 3 objects from ${first}`);
    // What somebody else has pushed there: it is left.
    await stage.app.run("reset", "-q", "--hard", first);
    const third = await stage.commit({ b: "5" });
    expect(said(await stage.push("+main"))).toContain(`got 3 objects from ${second}`);
    expect(await branchOf(there)).toBe(third);
    await createGitClient(there).run("fsck", "--strict");
    // Nothing is left of what was opened for them.
    const served = join(stage.workspace.directory, "served");
    expect(readdirSync(served)).toEqual(["shop.git"]);
    expect(readdirSync(join(served, "shop.git/objects")).filter((name) => name.startsWith("tmp"))).toEqual(
      [],
    );
    expect(await stage.releases()).toMatchObject([{ number: 3 }, { number: 2 }, { number: 1 }]);
  });

  it("that fail refuse the push; the next one is built", async () => {
    const there = await dynoOf("git cat-file -e $new:good || { echo 'npm ERR! broken'; exit 1; }");
    await start();
    await stage.commit({ bad: "1" });
    const refused = await stage.push();
    expect(refused.status).toBe(1);
    expect(said(refused)).toContain("npm ERR! broken\n");
    expect(said(refused)).toContain("Push rejected: the dyno refused it: pre-receive hook declined.");
    expect((await stage.app.try("ls-remote", stage.url)).stdout).toBe("");
    expect(await stage.releases()).toEqual([]);
    const oid = await stage.commit({ good: "1" });
    expect((await stage.push()).status).toBe(0);
    expect(await branchOf(there)).toBe(oid);
    expect((await stage.builds()).map(({ status }) => status)).toEqual(["succeeded", "failed"]);
  });

  it("that fail leave failed releases where pushes are accepted all the same", async () => {
    await dynoOf("exit 1");
    await start({}, { onBuildFailure: "accept" });
    const oid = await stage.commit({ bad: "1" });
    const result = await stage.push();
    expect(result.status).toBe(0);
    expect(said(result)).toContain("Release v1 failed: the dyno refused it");
    expect((await stage.app.try("ls-remote", stage.url, "main")).stdout).toContain(oid);
    expect(await stage.releases()).toMatchObject([{ number: 1, status: "failed" }]);
  });

  it("show what the dyno prints beside git", async () => {
    await dynoOf("true");
    openruko.behave = (build, run) => {
      build.socket.write("E:waking up \x1b[2J\n", () => runGit(build, run));
    };
    await start();
    await stage.commit({ a: "1" });
    const result = await stage.push();
    expect(result.status).toBe(0);
    expect(said(result)).toContain("waking up ?[2J\n");
  });

  it("wait for a pusher who does not read, and lose nothing", async () => {
    // Three times what the sockets on the way may hold, which the system lets grow to 15 MB.
    const lines = 130_000;
    const lineBytes = 340;
    await dynoOf(`seq -f 'line %.0f of the output of this build ${"x".repeat(lineBytes - 40)}' ${lines}`);
    await start({}, { limits: { outputBytesMax: 128 * 2 ** 20 } });
    await stage.commit({ a: "1" });
    const client = spawn("git", ["push", stage.url, "main"], {
      cwd: stage.app.directory,
      stdio: ["ignore", "ignore", "pipe"],
    });
    const { socket } = await openruko.build(0);
    let written = -1;
    let same = 0;
    for (let looks = 0; same < 20 && looks < 1000; looks++) {
      await new Promise((resolve) => setTimeout(resolve, 25));
      same = socket.bytesWritten === written && written > 100_000 ? same + 1 : 0;
      written = socket.bytesWritten;
    }
    expect(same).toBe(20);
    expect(written).toBeLessThan((lines * lineBytes) / 2);
    let rest = "";
    let read = 0;
    for await (const chunk of client.stderr) {
      const whole = (rest + String(chunk)).split("\n");
      rest = whole.pop() ?? "";
      read += whole.filter((line) => / of the output of this build/.test(line)).length;
    }
    expect(read).toBe(lines);
    expect(await stage.releases()).toHaveLength(1);
  });

  it("take shallow histories where both sides do", async () => {
    const there = await dynoOf("git rev-parse --is-shallow-repository");
    const served = join(stage.workspace.directory, "served/shop.git");
    await stage.workspace.run("init", "-q", "--bare", served);
    for (const path of [there, served])
      await createGitClient(path).run("config", "receive.shallowUpdate", "true");
    await start();
    await stage.commit({ a: "1" });
    const oid = await stage.commit({ a: "2" });
    await stage.workspace.run("clone", "-q", "--depth", "1", `file://${stage.app.directory}`, "shallow");
    const result = await stage.workspace.in("shallow").try("push", stage.url, "main");
    expect(said(result)).toContain("v1: built and launched");
    expect(await createGitClient(there).run("rev-list", "main")).toBe(oid);
    await createGitClient(there).run("fsck");
    expect(readFileSync(join(there, "shallow"), "utf8")).toBe(`${oid}\n`);
  });

  it("are done again on request", async () => {
    await dynoOf("echo built $old");
    await start();
    const oid = await stage.commit({ a: "1" });
    await stage.push();
    let printed = "";
    const print = async (text: string): Promise<void> => void (printed += text);
    const again = await stage.deploy.rebuild("shop", { print });
    expect(again.status).toBe("succeeded");
    expect(printed).toContain(`built ${oid}`);
    expect(await stage.releases()).toMatchObject([
      { number: 2, commit: oid, status: "current" },
      { number: 1, status: "replaced" },
    ]);
    await expect(stage.deploy.rebuild("shop", { commit: "1".repeat(40) })).rejects.toMatchObject({
      code: "storage/not-found",
    });
  });

  it("go on when the pusher leaves, also before there is a repository", async () => {
    const there = await dynoOf(`echo begun; ${waiting()}`);
    await start();
    const oid = await stage.commit({ a: "1" });
    await pushAndLeave(0);
    expect(await stage.builds()).toMatchObject([{ status: "running", commit: oid }]);
    const again = stage.push();
    go();
    const result = await again;
    expect(said(result)).toContain("already: this is what it prints\n");
    expect(said(result)).toContain("begun\n");
    expect(result.status).toBe(0);
    expect(openruko.builds).toHaveLength(1);
    expect(await branchOf(there)).toBe(oid);
  });

  /** Of a clone of its own, while the first is built. @returns what became of both */
  const pushTwo = async () => {
    const first = stage.push();
    await openruko.build(0);
    await stage.workspace.run("clone", "-q", "app", "other");
    const other = stage.workspace.in("other");
    writeFileSync(join(other.directory, "other"), "1");
    await other.run("add", "-A");
    await other.run("commit", "-q", "--amend", "-m", "another");
    const second = other.try("push", stage.url, "main");
    await until(async () => (await stage.builds()).length === 2);
    expect(openruko.builds).toHaveLength(1);
    // Who looks on sees the one at work.
    let isShown = false;
    const shown = stage.deploy.follow("shop", { print: () => void (isShown = true) });
    await until(() => isShown);
    go();
    expect((await shown)?.id).toBe((await stage.builds())[1]?.id);
    return { first: await first, second: await second, oid: await other.run("rev-parse", "HEAD") };
  };

  it("are done one after the other, and the second pusher is told", async () => {
    const there = await dynoOf(
      `${waiting()}; ! git cat-file -e $new:bad || [ -e $PWD/one ] || { : > $PWD/one; exit 1; }`,
    );
    await start();
    await stage.commit({ bad: "1" });
    const { first, second, oid } = await pushTwo();
    expect(first.status).toBe(1);
    expect(said(second)).toContain(" !     Another push to shop is being built");
    expect(said(second)).toContain("v1: built and launched");
    expect(await branchOf(there)).toBe(oid);
    expect((await stage.builds()).map(({ status }) => status)).toEqual(["succeeded", "failed"]);
    expect(openruko.builds).toHaveLength(2);
  });

  it("are not begun of a push that another came before, which its ref would refuse", async () => {
    const there = await dynoOf(waiting());
    await start();
    const oid = await stage.commit({ a: "1" });
    const { first, second } = await pushTwo();
    expect(first.status).toBe(0);
    expect(said(second)).toContain(
      `Push rejected: ${oid.slice(0, 7)} was pushed to main meanwhile: fetch, and push again.`,
    );
    // What is launched there is what stands here.
    expect(await branchOf(there)).toBe(oid);
    expect((await stage.app.try("ls-remote", stage.url, "main")).stdout).toContain(oid);
    expect(await stage.releases()).toMatchObject([{ number: 1, commit: oid, status: "current" }]);
    expect(openruko.builds).toHaveLength(1);
    const other = stage.workspace.in("other");
    await other.run("fetch", "-q", stage.url, "main");
    await other.run("reset", "-q", "--soft", "FETCH_HEAD");
    await other.run("commit", "-q", "-m", "after it");
    expect(said(await other.try("push", stage.url, "main"))).toContain("v2: built and launched");
  });

  it("are done anew where the dyno has gone on to something else", async () => {
    const there = await dynoOf(waiting());
    await start();
    const oid = await stage.commit({ a: "1" });
    await pushAndLeave(0);
    go();
    const isBuilt = async (): Promise<boolean> => (await stage.builds())[0]?.status === "succeeded";
    await until(isBuilt);
    // Its ref has not moved, so whatever is pushed next is built.
    await stage.app.run("commit", "-q", "--amend", "-m", "another");
    rmSync(join(stage.workspace.directory, "go"));
    await pushAndLeave(1);
    go();
    await until(isBuilt);
    expect(await branchOf(there)).not.toBe(oid);
    await stage.app.run("reset", "-q", "--hard", oid);
    expect(said(await stage.push())).toContain("v1: built and launched");
    expect(await branchOf(there)).toBe(oid);
    expect(openruko.builds).toHaveLength(3);
  });

  it("that are cancelled end in the dyno as well", async () => {
    await dynoOf(`echo begun; ${waiting()}`);
    await start({ exitTimeoutMs: 500 });
    await stage.commit({ a: "1" });
    const pushed = stage.push();
    const dyno = await openruko.build(0);
    await until(() => dyno.child !== undefined);
    const [build] = await stage.builds();
    expect(await stage.deploy.cancel(build?.id ?? "")).toBe(true);
    expect(said(await pushed)).toContain("Push rejected: it was cancelled.");
    await dyno.closed;
    expect(dyno.told).toBe("end");
    expect(await stage.builds()).toMatchObject([{ status: "cancelled" }]);
    // It holds nobody up.
    go();
    openruko.behave = ({ socket }) => void socket.resume().write(NO_REFS);
    await stage.commit({ a: "other" });
    const deaf = stage.push();
    await openruko.build(1);
    expect(await stage.deploy.cancel((await stage.builds())[0]?.id ?? "")).toBe(true);
    expect(said(await deaf)).toContain(
      "Error R12 (Exit timeout): the dyno has not ended within 0.5 seconds of being told to",
    );
    openruko.behave = runGit;
    await stage.commit({ a: "2" });
    expect((await stage.push()).status).toBe(0);
  });
});

describe("dynos that are not there", () => {
  const refusal = async (): Promise<string> => {
    await stage.commit({ a: String(Math.random()) });
    const result = await stage.push();
    expect(result.status).toBe(1);
    return said(result);
  };

  it("because the API server does not answer, or not with a dyno", async () => {
    await dynoOf("true");
    await start();
    openruko.answer = (_request, response) => {
      response.writeHead(500).end();
      return true;
    };
    expect(await refusal()).toContain("Push rejected: the build server cannot be reached.");
    expect(logged.splice(0)[0]).toContain("its dyno failed: RemoteAway: it answered with status 500");
    openruko.answer = undefined;
    openruko.apps.set("shop", []);
    expect(await refusal()).toContain("the build server has no app 'shop' for this server's account.");
    await openruko.stopApi();
    expect(await refusal()).toContain("Push rejected: the build server cannot be reached.");
    expect(logged.splice(0)[0]).toContain("ECONNREFUSED");
    expect((await stage.builds()).every(({ status }) => status === "failed")).toBe(true);
  });

  it("because nobody listens where it is to be, or somebody else does", async () => {
    await dynoOf("true");
    const nobody = createServer().listen(0, "127.0.0.1");
    await once(nobody, "listening");
    const address = nobody.address();
    const port = typeof address === "object" ? (address?.port ?? 0) : 0;
    nobody.close();
    await once(nobody, "close");
    await start({ rendezvousPort: port });
    expect(await refusal()).toContain("Push rejected: the build server cannot be reached.");
    await start({ rendezvousServerName: "another.test" });
    expect(await refusal()).toContain("Push rejected: the build server cannot be reached.");
    expect(logged.splice(0).join("\n")).toContain("another.test");
    expect(openruko.builds).toEqual([]);
  });

  it("because TLS is not what is spoken there", async () => {
    await dynoOf("true");
    let answer = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
    const met: Socket[] = [];
    const other = createServer((socket) => {
      met.push(socket.on("error", () => undefined).resume());
      socket.write(answer);
    }).listen(0, "127.0.0.1");
    try {
      await once(other, "listening");
      const address = other.address();
      const port = typeof address === "object" ? (address?.port ?? 0) : 0;
      await start({ rendezvousPort: port, provisionTimeoutMs: 1000 });
      expect(await refusal()).toContain("Push rejected: the build server cannot be reached.");
      expect(logged.splice(0).join("\n")).toContain("SSL");
      answer = "";
      expect(await refusal()).toContain("Push rejected: no dyno was ready within 1 seconds.");
      expect(logged.splice(0).join("\n")).toContain("still waiting for a connection to dyno");
      // Nothing is left of it.
      await until(() => met.every(({ closed }) => closed));
    } finally {
      for (const socket of met) socket.destroy();
      other.close();
    }
  });

  it("because they say so, or speak no git, or break off", async () => {
    await dynoOf("true");
    await start();
    openruko.behave = ({ socket }) => void socket.end("Dyno does not exist.");
    expect(await refusal()).toMatch(
      /Dyno does not exist\.[^]*the dyno went away before it had told its refs\./,
    );
    openruko.behave = ({ socket }) => void socket.end("0008ERR no\x1b0000");
    expect(await refusal()).toContain("Push rejected: the dyno");
    openruko.behave = (build) => build.cut();
    expect(await refusal()).toContain("Push rejected: the dyno went away");
    openruko.behave = (build, run) => {
      runGit(build, run);
      build.child?.stdout?.once("data", () => setImmediate(() => build.cut()));
    };
    expect(await refusal()).toContain("Push rejected: the dyno");
  });

  it("because they never come up, or fall silent", async () => {
    const there = await dynoOf(`echo begun; ${waiting()}`);
    await start({ provisionTimeoutMs: 300, exitTimeoutMs: 100 });
    openruko.answer = () => true;
    expect(await refusal()).toContain("Push rejected: no dyno was ready within 0.3 seconds.");
    expect(logged.splice(0).join("\n")).toContain("still waiting for an answer of the API server");
    openruko.answer = undefined;
    openruko.behave = () => undefined;
    expect(await refusal()).toContain("Push rejected: no dyno was ready within 0.3 seconds.");
    await openruko.builds[0]?.closed;
    openruko.behave = runGit;
    await start({ idleTimeoutMs: 500 });
    expect(await refusal()).toContain("Push rejected: the dyno has said nothing for 0.5 seconds.");
    await openruko.builds[1]?.closed;
    expect(openruko.builds[1]?.told).toBe("cut");
    await expect(branchOf(there)).rejects.toThrow();
  });

  it("because they have had their time, or printed too much", async () => {
    await dynoOf(`echo begun; ${waiting()}`);
    await start({}, { limits: { timeoutMs: 700 } });
    expect(await refusal()).toContain("the dyno was ended: it ran for more than 0.7 seconds.");
    await dynoOf("while :; do echo 0123456789012345678901234567890123456789; done");
    await start({}, { limits: { outputBytesMax: 100_000 } });
    expect(await refusal()).toContain("the dyno was ended: it printed more than 100000 bytes.");
  });
});

describe("a server that builds in dynos", () => {
  it("begins builds anew after it was killed", async () => {
    const there = await dynoOf(`echo begun; ${waiting()}`);
    const oid = await stage.commit({ a: "1", b: "2" });
    const first = await startServeProcess(stage.workspace.directory, dynoOptions());
    const lost = stage.app.try("push", `${first.url}/shop.git`, "main");
    const dyno = await openruko.build(0);
    await until(() => dyno.child !== undefined);
    await first.kill();
    expect((await lost).status).not.toBe(0);
    const second = await startServeProcess(stage.workspace.directory, dynoOptions());
    try {
      await openruko.build(1);
      go();
      const again = await stage.app.try("push", `${second.url}/shop.git`, "main");
      expect(said(again)).toContain("v1: built and launched by the platform of its dyno");
      expect(await branchOf(there)).toBe(oid);
    } finally {
      await second.kill();
    }
  });

  it("gives builds back when it is stopped, and has their dynos end", async () => {
    const there = await dynoOf(`echo begun; ${waiting()}`);
    await start();
    const oid = await stage.commit({ a: "1" });
    const lost = stage.push();
    const dyno = await openruko.build(0);
    await until(() => dyno.child !== undefined);
    await start();
    expect((await lost).status).not.toBe(0);
    expect(dyno.told).toBe("end");
    await openruko.build(1);
    go();
    await until(async () => (await stage.builds())[0]?.status === "succeeded");
    expect((await stage.push()).status).toBe(0);
    expect(await branchOf(there)).toBe(oid);
    expect(openruko.builds).toHaveLength(2);
    expect(await stage.releases()).toMatchObject([{ number: 1, commit: oid, status: "current" }]);
  });

  it("pushes on in the repository's object format, or says that it cannot", async () => {
    const served = join(stage.workspace.directory, "served/shop.git");
    await stage.workspace.run("init", "-q", "--bare", "--object-format=sha256", served);
    await stage.workspace.run("init", "-q", "--object-format=sha256", "long");
    const long = stage.workspace.in("long");
    await long.run("commit", "-q", "--allow-empty", "-m", "long");
    const there = await dynoOf("echo built $new");
    await start();
    const refused = await long.try("push", stage.url, "main");
    expect(said(refused)).toContain("the dyno's repository is of sha1, ours of sha256.");
    rmSync(there, { recursive: true });
    await stage.workspace.run("init", "-q", "--bare", "--object-format=sha256", there);
    expect((await long.try("push", stage.url, "main")).status).toBe(0);
    expect(await branchOf(there)).toMatch(/^[0-9a-f]{64}$/);
  });

  it("is `gitwharf serve` as well, and its commands", async () => {
    const there = await dynoOf("echo built $new");
    const config = join(stage.workspace.directory, "config.json");
    writeFileSync(
      config,
      JSON.stringify({ deploy: { executor: "dyno", newApps: "always", dyno: dynoOptions() } }),
    );
    const oid = await stage.commit({ a: "1" });
    const directory = join(stage.workspace.directory, "repositories");
    const server = await startServe(directory, "--config", config);
    try {
      expect(server.printed()).toContain(`built and launched by the dynos of ${openruko.apiUrl}`);
      const pushed = await stage.app.try("push", `${server.url}/shop.git`, "main");
      expect(said(pushed)).toContain(`built ${oid}`);
      expect(await branchOf(there)).toBe(oid);
      const releases = await runGitwharf(["releases", "shop", "--directory", directory]);
      expect(releases.stdout).toMatch(/v1 +[0-9a-f]{7,} +current/);
      const build = await runGitwharf(["logs", "shop", "--build", "--directory", directory]);
      expect(build.stdout).toContain(`built ${oid}`);
      for (const flags of [[], ["-f"]]) {
        const log = await runGitwharf(["logs", "shop", ...flags, "--directory", directory]);
        expect(log).toMatchObject({ status: 1, stdout: "" });
        expect(log.stderr).toContain("--build shows its last build");
      }
      const again = await runGitwharf(["builds", "retry", "shop", "--directory", directory]);
      expect(again).toMatchObject({ status: 0 });
      expect(openruko.builds).toHaveLength(2);
      const scaled = await runGitwharf(["scale", "shop", "web=2", "--directory", directory]);
      expect(scaled.stderr).toContain("'shop' cannot be scaled here");
      expect(scaled.status).toBe(1);
    } finally {
      await server.end("SIGTERM");
    }
  });

  it("says who scales, configures and rolls back", async () => {
    const deployment = await openDeployment({
      repositories: createMemoryRepositoryStore(),
      database: `sqlite:${join(stage.workspace.directory, "d.sqlite")}`,
      directory: join(stage.workspace.directory, "deployment"),
      executor: createDynoExecutor(dynoOptions()),
      apps: ["shop"],
    });
    try {
      await deployment.start();
      const { control } = deployment.apps;
      const { signal } = new AbortController();
      for (const asked of [
        () => control.scale("shop", { web: 2 }),
        () => control.rollback("shop", undefined, "me"),
        () => control.setConfig("shop", { A: "1" }, "me"),
        () => control.run("shop", "ls", signal, () => undefined),
      ])
        await expect(asked()).rejects.toThrow("the platform of its dynos builds and launches it");
      expect(await control.ps("shop")).toEqual([]);
    } finally {
      await deployment.close();
    }
  });

  it("is told what it needs", () => {
    expect(() => createDynoExecutor(dynoOptions({ apiKey: "" }))).toThrow("dyno: it needs apiKey");
    expect(() => createDynoExecutor(dynoOptions({ rendezvousSecret: "a b" }))).toThrow("rendezvousSecret");
    expect(() => createDynoExecutor(dynoOptions({ rendezvousPort: 0 }))).toThrow("rendezvousPort");
    expect(() => createDynoExecutor(dynoOptions({ idleTimeoutMs: 0 }))).toThrow("idleTimeoutMs");
  });
});
