/**
 * The keys that say how much is taken, what is advertised and what is hidden from who pushes: each with the real
 * client, with the key and without it, held against `git http-backend`.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type PushBesideGit, startPushBesideGit } from "./support/push-beside-git.js";
import { discover } from "./support/raw-fetch.js";
import { send } from "./support/raw-http.js";
import { packOfBlobs, pushOfBlob, RECEIVE_PACK_TYPE } from "./support/raw-push.js";

let pair: PushBesideGit;
beforeEach(async () => (pair = await startPushBesideGit()));
afterEach(() => pair.close());

const tipOf = (name: string): Promise<string> => pair.app.run("rev-parse", name);

async function advertised(): Promise<readonly string[]> {
  const [first = ""] = await discover(pair.ours.url, 0, "git-receive-pack");
  return first.slice(first.indexOf("\0") + 1).split(" ");
}

describe("receive.maxInputSize", () => {
  const post = async (side: "ours" | "theirs"): Promise<string> => {
    const { body } = await send(`${pair[side].url}/git-receive-pack`, {
      body: pushOfBlob("blob", "some content"),
      headers: { "content-type": RECEIVE_PACK_TYPE },
    });
    return body.toString();
  };

  it("takes a pack of as many bytes, none that has one more, and any where it is not set", async () => {
    const { length } = packOfBlobs("some content");
    await pair.configure({ "receive.maxInputSize": String(length - 1) });
    expect(await post("ours")).toMatch(
      new RegExp(`unpack pack exceeds maximum allowed size.*ng refs/tags/blob unpacker error`, "s"),
    );
    expect(await post("theirs")).toContain("ng refs/tags/blob unpacker error");
    for (const value of [String(length), "0", undefined]) {
      await pair.both("config", "--unset-all", "receive.maxInputSize");
      if (value !== undefined) await pair.configure({ "receive.maxInputSize": value });
      for (const side of ["ours", "theirs"] as const) {
        expect(await post(side), `${side} ${value}`).toContain("ok refs/tags/blob");
        await pair[side].repository.run("update-ref", "-d", "refs/tags/blob");
        await pair[side].repository.run("prune", "--expire=now");
      }
    }
  });

  it("is said to the client, and nothing of the push stays", async () => {
    await pair.configure({ "receive.maxInputSize": "100" });
    const before = await pair.refs();
    const refused = await pair.push("two:main");
    expect(refused.stdout).toContain("[remote rejected] (unpacker error)");
    expect(refused.stderr).toContain("pack exceeds maximum allowed size");
    expect(await pair.refs()).toEqual(before);
    expect(
      readdirSync(join(pair.ours.repository.directory, "objects")).filter((name) => name.startsWith("tmp_")),
    ).toEqual([]);
    expect((await pair.ours.repository.try("cat-file", "-e", await tipOf("two"))).status).not.toBe(0);
  });
});

describe("receive.advertiseAtomic", () => {
  it("false takes the word away, and the client gives up", async () => {
    expect(await advertised()).toContain("atomic");
    await pair.push("--atomic", "two:side");
    await pair.configure({ "receive.advertiseAtomic": "false" });
    expect(await advertised()).not.toContain("atomic");
    const refused = await pair.push("--atomic", "two:main");
    expect(refused.stderr).toContain("the receiving end does not support --atomic push");
    expect((await pair.refs())["refs/heads/main"]).toBe(await tipOf("one"));
    expect((await pair.push("two:main")).status).toBe(0);
  });
});

describe("receive.advertisePushOptions", () => {
  it("brings the word; without it the client gives up", async () => {
    expect(await advertised()).not.toContain("push-options");
    const refused = await pair.push("--push-option=x", "two:main");
    expect(refused.stderr).toContain("the receiving end does not support push options");
    await pair.configure({ "receive.advertisePushOptions": "true" });
    expect(await advertised()).toContain("push-options");
    expect((await pair.push("--push-option=x", "two:main")).status).toBe(0);
    expect((await pair.refs())["refs/heads/main"]).toBe(await tipOf("two"));
  });
});

describe("http.receivepack", () => {
  it("false forbids pushes as git http-backend does, and no fetch", async () => {
    expect((await pair.push("two:side")).status).toBe(0);
    await pair.both("config", "http.receivepack", "false");
    for (const { url } of [pair.ours, pair.theirs]) {
      expect((await send(`${url}/info/refs?service=git-receive-pack`)).status).toBe(403);
      const { status } = await send(`${url}/git-receive-pack`, {
        body: pushOfBlob("blob", "x"),
        headers: { "content-type": RECEIVE_PACK_TYPE },
      });
      expect(status).toBe(403);
      await pair.app.run("ls-remote", url);
    }
    const refused = await pair.push("two:main");
    expect(refused.stderr).toContain("error: 403");
    expect((await pair.refs())["refs/heads/main"]).toBe(await tipOf("one"));
  });
});

for (const key of ["receive.hideRefs", "transfer.hideRefs"]) {
  describe(key, () => {
    it("keeps refs from being shown, made, changed and deleted; others are free", async () => {
      await pair.push("one:refs/hidden/old", "one:refs/hidden/open/x");
      await pair.configure({ [key]: "refs/hidden" });
      await pair.both("config", "--add", key, "!refs/hidden/open");
      const shown = await discover(pair.ours.url, 0, "git-receive-pack");
      expect(shown.join("\n")).not.toContain("refs/hidden/old");
      expect(shown.join("\n")).toContain("refs/hidden/open/x");

      const before = await pair.refs();
      const changed = await pair.push("two:refs/hidden/old", "two:refs/hidden/new", "two:refs/hiddenly/y");
      expect(changed.stdout.match(/\[remote rejected\] \(deny updating a hidden ref\)/g)).toHaveLength(2);
      const opened = await pair.push("two:refs/hidden/open/x");
      expect(opened.status).toBe(0);
      expect(await pair.refs()).toEqual({
        ...before,
        "refs/hiddenly/y": await tipOf("two"),
        "refs/hidden/open/x": await tipOf("two"),
      });
      const deleted = await pair.push(":refs/hidden/old");
      expect(deleted.stdout + deleted.stderr).toMatch(/deny deleting a hidden ref|remote ref does not exist/);
      expect((await pair.refs())["refs/hidden/old"]).toBe(await tipOf("one"));

      await pair.both("config", "--unset-all", key);
      expect((await pair.push(":refs/hidden/old")).status).toBe(0);
      expect(Object.keys(await pair.refs())).not.toContain("refs/hidden/old");
    });

    it("answers who deletes a hidden ref without having seen it", async () => {
      await pair.push("one:refs/hidden/old");
      await pair.configure({ [key]: "refs/hidden" });
      const line = `${await tipOf("one")} ${"0".repeat(40)} refs/hidden/old\0report-status`;
      for (const { url } of [pair.ours, pair.theirs]) {
        const { body } = await send(`${url}/git-receive-pack`, {
          body: `${(line.length + 4).toString(16).padStart(4, "0")}${line}0000`,
          headers: { "content-type": RECEIVE_PACK_TYPE },
        });
        expect(body.toString()).toContain("ng refs/hidden/old deny deleting a hidden ref\n");
      }
      await pair.refs();
    });
  });
}

describe("receive.shallowUpdate", () => {
  for (const value of [undefined, "false", "true"] as const) {
    it(`${value ?? "not set"}: a cut history ${value === "true" ? "cuts the repository's" : "is refused"}`, async () => {
      if (value !== undefined) await pair.configure({ "receive.shallowUpdate": value });
      await pair.app.run("checkout", "-q", "--orphan", "apart");
      for (const message of ["a", "b", "c"])
        await pair.app.run("commit", "-q", "--allow-empty", "-m", message);
      await pair.workspace.run("clone", "-q", "--depth=2", `file://${pair.app.directory}`, "cut");
      const cut = pair.workspace.in("cut");
      const results = [];
      for (const { url } of [pair.ours, pair.theirs]) {
        const { status, stdout } = await cut.try("push", "--porcelain", url, "HEAD:refs/heads/apart");
        results.push({ status, stdout: stdout.replace(url, "URL") });
      }
      expect(results[0]).toEqual(results[1]);
      if (value === "true") expect(results[0]?.status).toBe(0);
      else expect(results[0]?.stdout).toContain("[remote rejected] (shallow update not allowed)");
      expect(Object.keys(await pair.refs()).includes("refs/heads/apart")).toBe(value === "true");
      const shallow = await Promise.all(
        [pair.ours, pair.theirs].map(({ repository }) =>
          repository.run("rev-parse", "--is-shallow-repository"),
        ),
      );
      expect(shallow).toEqual(value === "true" ? ["true", "true"] : ["false", "false"]);
      await pair.ours.repository.run("fsck", "--strict");
    });
  }
});
