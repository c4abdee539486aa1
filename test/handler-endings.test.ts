/**
 * How handlers end when nobody waits for them any more: out of time at each stage of a push, left by the client at each
 * stage over each transport, and side by side with another push.
 */
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Push, PushHandlers } from "../src/index.js";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";
import { becomes } from "./support/running.js";
import { settled } from "./support/settled.js";
import { startPush } from "./support/start-push.js";
import {
  listenEverywhere,
  OPEN_EVERYWHERE,
  type Transport,
  type Transports,
  TRANSPORTS,
} from "./support/transports.js";

let workspace: GitClient;
let app: GitClient;
let bare: GitClient;
let server: GitServer;
let over: Transports;
/** What the server's handlers do in this test. */
let handlers: PushHandlers = {};
const logged: string[] = [];
let count = 0;
let name: string;

beforeAll(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  await app.run("commit", "-q", "--allow-empty", "-m", "first");
  server = createGitServer({
    repositories: `${workspace.directory}/served`,
    durability: "none",
    ...OPEN_EVERYWHERE,
    log: ({ level, message, error }) =>
      void (level === "error" && logged.push(`${message}: ${String(error)}`)),
    handlers: {
      get timeoutMs() {
        return handlers.timeoutMs ?? 60_000;
      },
      procReceiveRefs: ["refs/for"],
      preReceive: (push) => handlers.preReceive?.(push),
      update: (push, update) => handlers.update?.(push, update),
      procReceive: (push, updates) => handlers.procReceive?.(push, updates) ?? [],
      referenceTransaction: (push, state, updates) =>
        handlers.referenceTransaction?.(push, state, updates) ?? true,
      pushToCheckout: (push, update, ...about) =>
        handlers.pushToCheckout?.(push, update, ...about) ?? undefined,
      postReceive: (push, updates) => handlers.postReceive?.(push, updates),
    },
  });
  over = await listenEverywhere(server, workspace.directory);
});
afterAll(async () => {
  await server.close({ graceMs: 0 });
  removeDirectory(workspace);
});
beforeEach(async () => {
  name = `r${count++}`;
  await workspace.run("init", "-q", "--bare", `served/${name}.git`);
  bare = workspace.in(`served/${name}.git`);
  // Over git:// a client may close its half and read on: that it has gone shows when it is written to.
  await bare.run("config", "receive.keepAlive", "1");
});
afterEach(() => {
  handlers = {};
  logged.length = 0;
});

const push = (...refspecs: readonly string[]): Promise<GitResult> =>
  app.try("push", over.urlOf("http", name), ...refspecs);
const refs = (): Promise<string> => bare.run("for-each-ref", "--format=%(refname)");
/** Quarantines, and what was published out of one. */
const objects = (): readonly string[] =>
  readdirSync(`${bare.directory}/objects`, { recursive: true })
    .map(String)
    .filter((entry) => entry !== "info" && entry !== "pack");
const forever = <T>(): Promise<T> => new Promise<T>(() => undefined);

const STAGES = ["preReceive", "update", "procReceive", "referenceTransaction", "pushToCheckout"] as const;
type Stage = (typeof STAGES)[number];

/** A handler of one stage. */
function at(stage: Stage, work: (given: Push) => Promise<never>): PushHandlers {
  return {
    [stage]: (given: Push, state: unknown) =>
      stage === "referenceTransaction" && state !== "prepared" ? true : work(given),
  };
}

/** Its branch is shown by a work tree, which a handler has to update. */
async function showBranch(): Promise<void> {
  await bare.run("config", "core.bare", "false");
  await bare.run("config", "receive.denyCurrentBranch", "updateInstead");
}

const refspecOf = (stage: Stage): string => (stage === "procReceive" ? "main:refs/for/main" : "main");

describe("a handler that uses up its time", () => {
  it.each(STAGES)("refuses in %s, its signal fires, and the next push is taken", async (stage) => {
    if (stage === "pushToCheckout") await showBranch();
    let signal: AbortSignal | undefined;
    handlers = {
      timeoutMs: 300,
      ...at(stage, (given) => {
        ({ signal } = given);
        return forever();
      }),
    };
    const { status, stderr } = await push(refspecOf(stage));
    expect(stderr).toContain(`(the ${stage} handler took longer than 0.3 seconds)`);
    expect([status, await refs(), signal?.aborted]).toEqual([1, "", true]);
    expect(logged).toEqual([expect.stringContaining(`the ${stage} handler`)]);
    // Until "publish" nothing stays; what was published for a ref that did not move is for gc.
    if (stage === "preReceive" || stage === "update") expect(objects()).toEqual([]);
    handlers = {};
    expect(await push("main")).toMatchObject({ status: 0 });
    expect(await refs()).toBe("refs/heads/main");
  });

  it("does not undo a push in postReceive, and the pusher reads of it", async () => {
    handlers = { timeoutMs: 300, postReceive: () => forever() };
    const { status, stderr } = await push("main");
    expect([status, await refs()]).toEqual([0, "refs/heads/main"]);
    expect(stderr).toContain("remote: warning: the postReceive handler took longer than 0.3 seconds");
  });

  it("moves no ref any more when it redirects too late", async () => {
    let late: Promise<unknown> | undefined;
    handlers = {
      timeoutMs: 300,
      async procReceive(given, updates) {
        await once(given.signal, "abort");
        late = Promise.allSettled(
          updates.map((update) => update.redirect("refs/changes/1", { force: true })),
        );
        return forever();
      },
    };
    expect((await push("main:refs/for/main")).stderr).toContain("(the procReceive handler took longer");
    expect(await late).toMatchObject([{ status: "rejected", reason: { code: "base/aborted" } }]);
    expect(await refs()).toBe("");
  });
});

describe("a handler whose client has gone", () => {
  const CASES = TRANSPORTS.flatMap((transport) =>
    STAGES.map((stage): [Stage, Transport] => [stage, transport]),
  );
  it.each(CASES)("in %s learns of it over %s, and no ref moves", async (stage, transport) => {
    if (stage === "pushToCheckout") await showBranch();
    let begun: () => void = () => undefined;
    const waiting = new Promise<void>((resolve) => (begun = resolve));
    let gone = false;
    handlers = at(stage, async (given) => {
      begun();
      await once(given.signal, "abort");
      gone = true;
      return (stage === "procReceive" ? [] : undefined) as never;
    });
    const client = startPush(app, [over.urlOf(transport, name), refspecOf(stage)], over.env);
    await waiting;
    await client.kill();
    await settled(server);
    expect([gone, await refs(), logged]).toEqual([true, "", []]);
    if (stage === "preReceive" || stage === "update") expect(objects()).toEqual([]);
  });
});

describe("two pushes at once", () => {
  /** Lets handlers go on once `count` of them are there. */
  const gather = (expected: number): (() => Promise<void>) => {
    let here = 0;
    return async () => {
      here++;
      await becomes(() => here >= expected, `${expected} pushes are at work`);
    };
  };

  it.each(TRANSPORTS)(
    "see their own objects only, and one of them gets the ref, over %s",
    async (transport) => {
      const seen: boolean[][] = [];
      const after: string[] = [];
      await workspace.run("clone", "-q", "app", `copy-${name}`);
      const copy = workspace.in(`copy-${name}`);
      const tips: string[] = [];
      for (const [i, client] of [app, copy].entries()) {
        await client.run("checkout", "-q", "-b", `topic-${name}`, "HEAD");
        await client.run("commit", "-q", "--allow-empty", "-m", `of ${i}`);
        tips.push(await client.run("rev-parse", "HEAD"));
      }
      const [together, looked] = [gather(2), gather(2)];
      handlers = {
        async preReceive(given) {
          await together();
          const mine = given.updates[0]?.newOid;
          const others = tips.filter((oid) => oid !== mine);
          seen.push(await Promise.all([mine ?? "", ...others].map(async (oid) => given.objects.has(oid))));
          // Nothing is published before both have looked.
          await looked();
        },
        postReceive: (_push, updates) => void after.push(...updates.map(({ newOid }) => newOid)),
      };
      const url = over.urlOf(transport, name);
      const results = await Promise.all(
        [app, copy].map((client) => client.tryWith({ env: over.env }, "push", url, "HEAD:refs/heads/main")),
      );
      await settled(server);
      expect(seen).toEqual([
        [true, false],
        [true, false],
      ]);
      expect(results.filter(({ status }) => status === 0)).toHaveLength(1);
      const winner = tips[results.findIndex(({ status }) => status === 0)];
      expect(results.find(({ status }) => status !== 0)?.stderr).toMatch(/\[remote rejected\]/);
      expect([after, await bare.run("rev-parse", "main")]).toEqual([[winner], winner]);
    },
  );
});
