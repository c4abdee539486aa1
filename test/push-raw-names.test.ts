/**
 * Ref names of every wrong form in pushes that no client sends, each answered by an `ng` for its name and held against
 * `git http-backend` asked with the same bytes; afterwards both have the same refs, and the server takes a push.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type PushBesideGit, type Side, startPushBesideGit } from "./support/push-beside-git.js";
import { send } from "./support/raw-http.js";
import {
  blobOid,
  formatCommands,
  NULL_OID,
  packOfBlobs,
  type RawCommand,
  RECEIVE_PACK_TYPE,
} from "./support/raw-push.js";

let pair: PushBesideGit;
let one: string;
let two: string;

beforeAll(async () => {
  pair = await startPushBesideGit();
  one = await pair.app.run("rev-parse", "one");
  two = await pair.app.run("rev-parse", "two");
  await pair.push("two:refs/keep/two");
});
afterAll(() => pair.close());

async function postTo(side: Side, commands: readonly RawCommand[], capabilities: string): Promise<string> {
  const { status, body } = await send(`${side.url}/git-receive-pack`, {
    body: Buffer.concat([Buffer.from(formatCommands(commands, capabilities)), packOfBlobs("x")]),
    headers: { "content-type": RECEIVE_PACK_TYPE },
  });
  return `${status} ${body.toString("utf8")}`;
}

/** The lines of the report of both, each without its length. */
async function post(commands: readonly RawCommand[], capabilities = "report-status") {
  const [ours = "", theirs = ""] = [
    await postTo(pair.ours, commands, capabilities),
    await postTo(pair.theirs, commands, capabilities),
  ].map((answer) => answer.replace(/^200 000eunpack ok\n/, "").replaceAll(/(?<=^|\n)[0-9a-f]{4}/g, ""));
  return { ours, theirs };
}

const create = (name: string, newOid = one): RawCommand => ({ newOid, name });
const remove = (name: string, oldOid = one): RawCommand => ({ oldOid, newOid: NULL_OID, name });

const FUNNY = [
  "HEAD FETCH_HEAD config main heads/x -x @ refs refs/ /refs/heads/a",
  "../../config refs/../../config refs/heads/../../config refs/heads/.. refs/heads/a..b",
  "refs/heads/x.lock refs/heads/x.lock/y refs/heads/.a refs/heads/a/.b refs/heads/a.",
  "refs/heads/ refs/heads//a refs/heads/a/ refs/heads/@{ refs/heads/a@{1}",
  "refs/heads/a~1 refs/heads/a^ refs/heads/a:b refs/heads/a? refs/heads/a* refs/heads/a[ refs/heads/a\\b",
  "5".repeat(40),
]
  .flatMap((line) => line.split(" "))
  .concat("refs/heads/a\tb", "refs/heads/a b");

describe("a name that is no ref's", () => {
  it.each(FUNNY)("%j is refused, made or deleted", async (name) => {
    for (const command of [create(name), remove(name)]) {
      const { ours, theirs } = await post([command]);
      expect(ours).toBe(`ng ${name} funny refname\n`);
      expect(ours).toBe(theirs);
    }
  });

  it.each(["\x01", "\x1b", "\x7f", "\r"])(
    "with the control character %j is refused, and not repeated",
    async (c) => {
      const { ours, theirs } = await post([create(`refs/heads/a${c}b`)]);
      expect(ours).toMatch(/^ng refs\/heads\/a[? ]b funny refname\n$/);
      expect(theirs).toContain("funny refname");
    },
  );

  it.each(["refs/heads", "refs/tags", "refs/bar", "refs/stash"])(
    "%s is not made: it has one level",
    async (name) => {
      const { ours, theirs } = await post([create(name)]);
      expect(ours).toBe(`ng ${name} funny refname\n`);
      expect(ours).toBe(theirs);
    },
  );

  it("does not take the directory of the branches away from an empty repository", async () => {
    await pair.workspace.run("init", "-q", "--bare", "ours/empty.git");
    const url = pair.ours.url.replace("app", "empty");
    const { body } = await send(`${url}/git-receive-pack`, {
      body: Buffer.concat([
        Buffer.from(formatCommands([create("refs/heads", blobOid("x")), create("refs/tags", blobOid("x"))])),
        packOfBlobs("x"),
      ]),
      headers: { "content-type": RECEIVE_PACK_TYPE },
    });
    expect(body.toString()).toMatch(/ng refs\/heads funny refname\n.*ng refs\/tags funny refname\n/);
    await pair.app.run("push", "-q", url, "one:main");
    expect(await pair.workspace.in("ours/empty.git").run("rev-parse", "main")).toBe(one);
  });

  it("that git itself made with one level may be deleted, as git since 2.45 allows", async () => {
    await pair.ours.repository.run("update-ref", "refs/foo", one);
    const answer = await postTo(pair.ours, [remove("refs/foo")], "report-status");
    expect(answer).toContain("ok refs/foo");
    expect((await pair.ours.repository.try("rev-parse", "--verify", "-q", "refs/foo")).status).toBe(1);
  });

  it.each(["report-status", "report-status atomic"])(
    "refuses the others with it only when atomic: %s",
    async (words) => {
      const { ours, theirs } = await post([create("refs/heads/beside"), create("refs/heads/..")], words);
      const atomic = words.endsWith("atomic");
      expect(ours).toBe(
        `${atomic ? "ng refs/heads/beside atomic push failure" : "ok refs/heads/beside"}\nng refs/heads/.. funny refname\n`,
      );
      expect(ours).toBe(theirs);
      if (!atomic) await pair.push(":beside");
    },
  );
});

describe("a name that only looks wrong", () => {
  it.each([
    "refs/heads/-x",
    "refs/heads/@",
    "refs/heads/HEAD",
    "refs/heads/MAIN",
    "refs/heads/\u00e9",
    "refs/notes/x",
  ])("%s is made and deleted", async (name) => {
    for (const command of [create(name), remove(name)]) {
      const { ours, theirs } = await post([command]);
      expect(ours).toBe(`ok ${name}\n`);
      expect(ours).toBe(theirs);
    }
  });

  it("is made when it is an object id below refs/heads/, or deep", async () => {
    for (const name of [`refs/heads/${one}`, `refs/heads/${"y/".repeat(200)}z`]) {
      const { ours, theirs } = await post([create(name)]);
      expect(ours).toBe(`ok ${name}\n`);
      expect(theirs).toBe(ours);
      await post([remove(name)]);
    }
  });

  it("is refused where the disk has no room for it, without a path of the server", async () => {
    const name = `refs/heads/${"x".repeat(300)}`;
    const { ours, theirs } = await post([create(name)]);
    expect(ours).toMatch(new RegExp(`^ng ${name} .*name too long\n$`));
    expect(ours).not.toContain(pair.workspace.directory);
    expect(theirs).toMatch(/^ng /);
  });

  it("bytes that are no UTF-8 are refused: they would become another name", async () => {
    const line = Buffer.concat([
      Buffer.from(`${NULL_OID} ${one} refs/heads/`),
      Buffer.from([0xff, 0xc3]),
      Buffer.from("\0report-status"),
    ]);
    const { body } = await send(`${pair.ours.url}/git-receive-pack`, {
      body: Buffer.concat([
        Buffer.from((line.length + 4).toString(16).padStart(4, "0")),
        line,
        Buffer.from("0000"),
        packOfBlobs("x"),
      ]),
      headers: { "content-type": RECEIVE_PACK_TYPE },
    });
    expect(body.toString()).toMatch(/ng refs\/heads\/.* funny refname/);
  });
});

describe("names that are in each other's way", () => {
  it.each([
    [["refs/heads/main/below"], ["refs/heads/main/below"]],
    [["refs/keep"], ["refs/keep"]],
    [["refs/heads/q", "refs/heads/q/r"], ["refs/heads/q/r"]],
    [["refs/heads/s/t", "refs/heads/s"], ["refs/heads/s"]],
  ])("%j: %j cannot be", async (names, refused) => {
    const { ours, theirs } = await post(names.map((name) => create(name)));
    for (const answer of [ours, theirs]) {
      for (const name of names) expect(answer).toContain(`${refused.includes(name) ? "ng" : "ok"} ${name}`);
    }
    expect(ours).toMatch(/refname conflict|funny refname/);
    expect(await pair.refs()).toBeDefined();
    await post(names.filter((name) => !refused.includes(name)).map((name) => remove(name)));
  });

  it("make room in one push: a branch goes, one below it comes", async () => {
    const { ours, theirs } = await post([remove("refs/heads/side"), create("refs/heads/side/below")]);
    expect(ours).toBe("ok refs/heads/side\nok refs/heads/side/below\n");
    expect(theirs).toBe(ours);
    await post([remove("refs/heads/side/below"), create("refs/heads/side")]);
  });

  it("twice in one push refuse all of it", async () => {
    const answer = await postTo(pair.ours, [create("refs/heads/d"), create("refs/heads/d")], "report-status");
    expect(answer).toMatch(/^200 ....ERR the push updates 'refs\/heads\/d' more than once$/);
    expect(Object.keys(await pair.refs())).not.toContain("refs/heads/d");
  });
});

describe("a symbolic ref and the ref that it leads to, in one push", () => {
  beforeAll(() => pair.both("symbolic-ref", "refs/heads/alias", "refs/heads/main"));

  const pushing = (alias: readonly [string, string], main: readonly [string, string]) => [
    { oldOid: alias[0], newOid: alias[1], name: "refs/heads/alias" },
    { oldOid: main[0], newOid: main[1], name: "refs/heads/main" },
  ];

  it("move together when they are to change alike", async () => {
    for (const commands of [pushing([one, two], [one, two]), pushing([two, one], [two, one]).toReversed()]) {
      const { ours, theirs } = await post(commands);
      expect(ours).toBe(commands.map(({ name }) => `ok ${name}\n`).join(""));
      expect(theirs).toBe(ours);
      expect((await pair.refs())["refs/heads/main"]).toBe(commands[0]?.newOid);
    }
    expect(await pair.ours.repository.run("symbolic-ref", "refs/heads/alias")).toBe("refs/heads/main");
  });

  it("stay when they are to change otherwise", async () => {
    const { ours, theirs } = await post(pushing([one, two], [one, one]));
    expect(ours).toBe(
      "ng refs/heads/alias inconsistent aliased update\nng refs/heads/main inconsistent aliased update\n",
    );
    expect(theirs).toBe(ours);
    expect((await pair.refs())["refs/heads/main"]).toBe(one);
  });

  it("stay together when the one that moves is refused", async () => {
    await pair.ours.repository.run("config", "receive.denyNonFastForwards", "true");
    await pair.push("two:main");
    const answer = await postTo(pair.ours, pushing([two, one], [two, one]), "report-status");
    expect(answer).toMatch(
      /ng refs\/heads\/alias non-fast-forward\n.*ng refs\/heads\/main non-fast-forward\n/,
    );
    await pair.ours.repository.run("config", "--unset", "receive.denyNonFastForwards");
    expect((await pair.refs())["refs/heads/main"]).toBe(two);
  });

  it("are mirrored by the client", async () => {
    await pair.app.run("checkout", "-q", "-B", "main", "two");
    await pair.app.run("symbolic-ref", "refs/heads/alias", "refs/heads/main");
    await pair.app.run("commit", "-q", "--allow-empty", "-m", "three");
    expect((await pair.push("main:main", "alias:refs/heads/alias")).status).toBe(0);
    expect((await pair.refs())["refs/heads/alias"]).toBe(await pair.app.run("rev-parse", "main"));
  });
});

it("at the end both sides have the same refs, and take another push", async () => {
  await pair.push("two:last");
  expect((await pair.refs())["refs/heads/last"]).toBe(two);
  for (const { repository } of [pair.ours, pair.theirs])
    expect((await repository.run("fsck", "--strict", "--no-dangling")).trim()).toBe("");
  expect(await pair.ours.repository.run("rev-parse", "--is-bare-repository")).toBe("true");
});
