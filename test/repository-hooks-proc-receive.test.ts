/**
 * The proc-receive hook, with the real client: the same push with the same hook to this server and to `git http-backend`
 * must print, move and tell the hooks the same.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import type { GitClient } from "./support/git-client.js";
import { type GitHttpBackend, startGitHttpBackend } from "./support/git-http-backend.js";
import { createHookedRepositories, type HookedRepositories } from "./support/hooked-repositories.js";
import { type Orders, readTold, writeProcReceive } from "./support/proc-receive-hook.js";
import { RECORD, readRecord, writeHook } from "./support/record-hooks.js";

let made: HookedRepositories;
let app: GitClient;
let server: TestServer;
let backend: GitHttpBackend;
let first: string;
let second: string;
let count = 0;

beforeAll(async () => {
  made = await createHookedRepositories({
    "receive.advertisePushOptions": "true",
    "receive.procReceiveRefs": "refs/for",
    "http.receivepack": "true",
  });
  const { workspace } = made;
  ({ app, first, second } = made);
  const repositories = `${workspace.directory}/served`;
  server = await createTestServer({ repositories, durability: "none", repositoryHooks: true });
  backend = await startGitHttpBackend(`${workspace.directory}/theirs`);
});
afterAll(async () => {
  await server.close();
  await backend.close();
  made.remove();
});

interface Outcome {
  readonly status: number | null;
  /** `git push --porcelain` without the URL. */
  readonly printed: string;
  readonly remote: readonly string[];
  readonly refs: string;
  readonly told: unknown;
  readonly after: unknown;
}

/** @param args before the URL: options; behind `--`: refs, with `first` and `second` for the commits */
async function push(
  repository: GitClient,
  url: string,
  about: { readonly orders: Orders | undefined; readonly args: readonly string[] },
): Promise<Outcome> {
  const at = about.args.indexOf("--");
  const specs = about.args
    .slice(at + 1)
    .map((spec) => spec.replace("first", first).replace("second", second));
  await app.run("push", "-q", url, `${first}:refs/heads/main`);
  if (about.orders !== undefined) writeProcReceive(repository, about.orders);
  for (const name of ["update", "post-receive", "post-update"]) writeHook(repository, name, RECORD);
  const result = await app.try("push", "--porcelain", ...about.args.slice(0, at), url, ...specs);
  return {
    status: result.status,
    printed: result.stdout.replaceAll(url, "URL"),
    remote: result.stderr
      .split("\n")
      .filter((line) => line.startsWith("remote:"))
      .map((line) => line.trimEnd()),
    refs: await repository.run("for-each-ref", "--format=%(refname) %(objectname)"),
    told: readTold(repository),
    after: readRecord(repository)
      .filter(({ name }) => name !== "update")
      .map(({ name, args, input }) => ({ name, args, input })),
  };
}

async function pushBoth(
  args: readonly string[],
  orders: Orders | undefined,
): Promise<{ readonly ours: Outcome; readonly theirs: Outcome }> {
  const name = `r${count++}.git`;
  const ours = await made.create(`served/${name}`);
  const theirs = await made.create(`theirs/${name}`);
  return {
    ours: await push(ours, `${server.url}/${name}`, { orders, args }),
    theirs: await push(theirs, backend.urlOf(name), { orders, args }),
  };
}

const ONE = ["--", "second:refs/for/main/x"];
const TWO = ["--", "first:refs/for/a", "second:refs/for/b"];
const MIXED = ["--", "second:refs/heads/main", "second:refs/for/a"];
const OK = ["ok refs/for/main/x"];

/** name, push, orders, what must be among the printed lines */
type Row = readonly [name: string, args: readonly string[], orders: Orders | undefined, printed: RegExp];

const SAME: readonly Row[] = [
  ["agrees", ONE, { answer: OK }, /^\*\t.*:refs\/for\/main\/x\t\[new reference\]$/m],
  ["answers in version 0", ONE, { answer: OK, greeting: [] }, /\[new reference\]/],
  ["names a version that is no number", ONE, { answer: OK, greeting: ["version=x"] }, /\[new reference\]/],
  ["names version 2", ONE, { answer: OK, greeting: ["version=2"] }, /fail to run proc-receive hook/],
  ["greets with a line too many", ONE, { answer: OK, greeting: ["version=1", "hello"] }, /new reference/],
  ["is offered options", ["-o", "a=b", "-o", "two words", ...ONE], { answer: OK }, /new reference/],
  ["wants no options", ["-o", "a=b", ...ONE], { answer: OK, greeting: ["version=1"] }, /new reference/],
  [
    "asks for options that nobody sent",
    ONE,
    { answer: OK, greeting: ["version=1\0push-options"] },
    /new reference/,
  ],
  ["is offered atomic", ["--atomic", ...ONE], { answer: OK }, /new reference/],
  ["is offered both", ["--atomic", "-o", "x", ...ONE], { answer: OK }, /new reference/],
  ["refuses", ONE, { answer: ["ng refs/for/main/x no such branch"] }, /\(no such branch\)/],
  ["refuses without a reason", ONE, { answer: ["ng refs/for/main/x"] }, /\(failed\)/],
  ["refuses one of two", TWO, { answer: ["ok refs/for/a", "ng refs/for/b not today"] }, /not today/],
  ["agrees, then refuses", ONE, { answer: [...OK, "ng refs/for/main/x no"] }, /\(no\)/],
  [
    "says where it went",
    ONE,
    { answer: [...OK, "option refname refs/pull/1/head"] },
    /refs\/pull\/1\/head\t\[new reference\]/,
  ],
  [
    "says all there is to say",
    ONE,
    {
      answer: [
        ...OK,
        "option refname refs/pull/1/head",
        `option old-oid ${"1".repeat(40)}`,
        "option new-oid NEW",
        "option forced-update",
      ],
    },
    /^\+\t.*refs\/pull\/1\/head.*\(forced update\)/m,
  ],
  [
    "makes several of one",
    ONE,
    {
      answer: [
        ...OK,
        "option refname refs/pull/1/head",
        "option new-oid NEW",
        ...OK,
        "option refname refs/pull/2/head",
        `option old-oid ${"2".repeat(40)}`,
      ],
    },
    /refs\/pull\/2\/head/,
  ],
  ["agrees twice", ONE, { answer: [...OK, ...OK] }, /new reference/],
  ["lets fall through", ONE, { answer: [...OK, "option fall-through"] }, /\[new reference\]/],
  [
    "lets fall through under another name",
    ONE,
    { answer: [...OK, "option refname refs/heads/other", "option fall-through"] },
    /refs\/heads\/other/,
  ],
  [
    "lets fall through, and answers again",
    ONE,
    { answer: [...OK, "option fall-through", ...OK] },
    /new reference/,
  ],
  [
    "lets one of two fall through",
    TWO,
    { answer: ["ok refs/for/a", "option fall-through", "ok refs/for/b"] },
    /refs\/for\/a/,
  ],
  ["says an unknown option", ONE, { answer: [...OK, "option colour red"] }, /new reference/],
  ["says a bad id", ONE, { answer: [...OK, "option old-oid nonsense", "option new-oid"] }, /new reference/],
  ["says an option without a key", ONE, { answer: [...OK, "option "] }, /new reference/],
  ["says an option first", ONE, { answer: ["option refname x", "option y", ...OK] }, /new reference/],
  [
    "says an option behind a refusal",
    ONE,
    { answer: ["ng refs/for/main/x no", "option refname refs/x"] },
    /\(no\)/,
  ],
  ["says an incomplete line", ONE, { answer: ["ok", "hello", ...OK] }, /new reference/],
  ["says a bad status", ONE, { answer: ["maybe refs/for/main/x", ...OK] }, /new reference/],
  ["says nothing of one", TWO, { answer: ["ok refs/for/b"] }, /failed to report status/],
  ["says nothing at all", ONE, { answer: [] }, /failed to report status/],
  ["answers for a ref that nobody pushed", ONE, { answer: ["ok refs/for/other", ...OK] }, /new reference/],
  [
    "answers for a ref that is not its own",
    MIXED,
    { answer: ["ok refs/heads/main", "ok refs/for/a"] },
    /main/,
  ],
  ["stops without a flush", ONE, { answer: OK, unfinished: true }, /new reference/],
  ["stops in the middle of a line", ONE, { answer: OK, unfinished: true, raw: "00ff" }, /new reference/],
  ["agrees, and ends with 1", ONE, { answer: OK, exit: 1 }, /new reference/],
  ["prints for the pusher", ONE, { answer: OK, stderr: "made a review\n" }, /new reference/],
  ["is missing", ONE, undefined, /fail to run proc-receive hook/],
  ["dies at once", ONE, { dies: "at once" }, /fail to run proc-receive hook/],
  ["dies before its greeting", ONE, { dies: "before its greeting" }, /fail to run proc-receive hook/],
  ["dies before its answer", ONE, { dies: "before its answer" }, /fail to run proc-receive hook/],
  ["agrees beside another ref", MIXED, { answer: ["ok refs/for/a"] }, /main/],
  ["refuses beside another ref", MIXED, { answer: ["ng refs/for/a no"] }, /main/],
  ["is missing beside another ref", MIXED, undefined, /fail to run/],
  ["agrees beside another ref, atomic", ["--atomic", ...MIXED], { answer: ["ok refs/for/a"] }, /main/],
  [
    "refuses beside another ref, atomic",
    ["--atomic", ...MIXED],
    { answer: ["ng refs/for/a no"] },
    /fail to run/,
  ],
  [
    "refuses one of two beside another ref, atomic",
    ["--atomic", ...MIXED, "second:refs/for/b"],
    { answer: ["ng refs/for/a no", "ok refs/for/b"] },
    /fail to run/,
  ],
  [
    "refuses one, lets one fall through, atomic",
    ["--atomic", ...TWO],
    { answer: ["ng refs/for/a no", "ok refs/for/b", "option fall-through"] },
    /fail to run/,
  ],
  ["is missing beside another ref, atomic", ["--atomic", ...MIXED], undefined, /fail to run/],
  ["dies beside another ref, atomic", ["--atomic", ...MIXED], { dies: "before its answer" }, /fail to run/],
  [
    "ends with 1 beside another ref, atomic",
    ["--atomic", ...MIXED],
    { answer: ["ok refs/for/a"], exit: 1 },
    /fail to run/,
  ],
  ["says nothing of one, atomic", ["--atomic", ...MIXED], { answer: [] }, /failed to report status/],
];

describe("a proc-receive hook, beside git http-backend", () => {
  it.each(SAME)("that %s", async (_name, args, orders, printed) => {
    const { ours, theirs } = await pushBoth(args, orders);
    expect(ours).toEqual(theirs);
    expect(ours.printed).toMatch(printed);
  });
});

describe("a proc-receive hook", () => {
  it.each([
    [
      "that dies before the commands",
      { dies: "before the commands" },
      /error: (proc-receive exited abnormally|fail to write commands)/,
    ],
    ["that greets in no packet", { raw: "hello" }, /error: fail to negotiate version/],
    [
      "that answers in no packet",
      { answer: [], unfinished: true, raw: "0003" },
      /error: proc-receive sent a malformed packet/,
    ],
  ] as const)("%s fails", async (_name, orders, remote) => {
    const name = `r${count++}.git`;
    const repository = await made.create(`served/${name}`);
    const outcome = await push(repository, `${server.url}/${name}`, { orders, args: ONE });
    expect(outcome.printed).toMatch(
      /\[remote rejected\] \((fail to run proc-receive hook|proc-receive failed to report status)\)/,
    );
    expect(outcome.remote.join("\n")).toMatch(remote);
    expect(outcome.refs).not.toContain("refs/for");
  });
});
