/** What the gateway makes of commits, judged by git: nothing of their authors is left, and everything else is as it was. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { deflateSync, inflateSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type RewriteOptions, rewriteHistory } from "../src/gateway/rewrite/rewrite-history.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";

let git: GitClient;
let commits: Map<string, Buffer>;

beforeEach(async () => {
  git = createWorkspace();
  commits = new Map();
  await git.run("init", "-q");
});
afterEach(() => removeDirectory(git));

/** Names, addresses, zones, trailers, signatures, encodings: all that is Jane's and Björn's. */
const SECRETS = [
  "Jane",
  "Doe",
  "jane",
  "Björn",
  "Åström",
  "b@x.example",
  "+0545",
  "-0930",
  "1712345678",
  "SIGNATURE",
  "Iabc",
];

const JANE = {
  GIT_AUTHOR_NAME: "Jane Doe",
  GIT_AUTHOR_EMAIL: "jane@example.org",
  GIT_AUTHOR_DATE: "1712345678 +0545",
  GIT_COMMITTER_NAME: "Björn Åström",
  GIT_COMMITTER_EMAIL: "b@x.example",
  GIT_COMMITTER_DATE: "1712345678 -0930",
};

async function commit(message: string | Buffer, ...args: readonly string[]): Promise<void> {
  const { status, stderr } = await git.tryWith(
    { env: JANE, input: message },
    ...args,
    "commit",
    "-q",
    "--allow-empty",
    "--cleanup=verbatim",
    "-F",
    "-",
  );
  expect([status, stderr]).toEqual([0, ""]);
}

async function rewrite(options: Partial<RewriteOptions> = {}): Promise<string> {
  const tip = await git.run("rev-parse", "HEAD");
  for (const oid of (await git.run("rev-list", "upstream..HEAD")).split("\n")) commits.set(oid, raw(oid));
  const { tip: newTip } = await rewriteHistory({
    format: "sha1",
    tip,
    read: (oid) => commits.get(oid),
    write(oid, data) {
      const file = looseFile(oid);
      mkdirSync(dirname(file), { recursive: true });
      const head = Buffer.from(`commit ${data.length}\0`);
      writeFileSync(file, deflateSync(Buffer.concat([head, data])));
    },
    identity: { name: "@gitgost-anonymous", email: "anonymous@gitgost.local" },
    seconds: 1_800_000_000,
    ...options,
  });
  await git.run("update-ref", "refs/heads/rewritten", newTip);
  return newTip;
}

const looseFile = (oid: string): string => `${git.directory}/.git/objects/${oid.slice(0, 2)}/${oid.slice(2)}`;

/** As it is stored, whatever its encoding. */
function raw(oid: string): Buffer {
  const whole = inflateSync(readFileSync(looseFile(oid)));
  return whole.subarray(whole.indexOf(0) + 1);
}

async function wholeHistory(tip: string): Promise<string> {
  return git.run("log", "--format=raw", "--show-signature", `upstream..${tip}`);
}

describe("a rewritten history", () => {
  it("is clean for git fsck, shaped as it was, and nobody's", async () => {
    await git.run("commit", "-q", "--allow-empty", "-m", "upstream");
    await git.run("branch", "upstream");
    writeFileSync(`${git.directory}/a`, "a");
    await git.run("add", "a");
    await commit("one\n\nSigned-off-by: Jane Doe <jane@example.org>\nChange-Id: Iabc\n");
    await git.run("checkout", "-q", "-b", "side");
    await commit("two, asked by jane at example dot org\n");
    await git.run("checkout", "-q", "-");
    // git takes the message as it comes, and the names as they are in its environment: UTF-8.
    const latin = Buffer.from("über\n\nby Björn Åström\n", "latin1");
    await commit(latin, "-c", "i18n.commitEncoding=ISO-8859-1");
    const merge = await git.tryWith(
      { env: JANE },
      "merge",
      "-q",
      "--no-ff",
      "-m",
      "Merge branch 'side' of https://example.org/jane/app",
      "side",
    );
    expect(merge.status).toBe(0);
    const tree = await git.run("rev-parse", "HEAD^{tree}");
    const signed = await git.tryWith(
      {
        input: [
          `tree ${tree}`,
          `parent ${await git.run("rev-parse", "HEAD")}`,
          "author Jane Doe <jane@example.org> 1712345678 +0545",
          "committer Jane Doe <jane@example.org> 1712345678 +0545",
          "gpgsig -----BEGIN SSH SIGNATURE-----",
          " Jane",
          " -----END SSH SIGNATURE-----",
          "",
          "three\n",
        ].join("\n"),
      },
      "hash-object",
      "-t",
      "commit",
      "-w",
      "--stdin",
    );
    await git.run("reset", "-q", "--hard", signed.stdout.trim());

    const tip = await rewrite();
    expect(await git.try("fsck", "--strict", "--no-dangling")).toMatchObject({ status: 0, stdout: "" });
    const history = await wholeHistory(tip);
    for (const secret of SECRETS) expect(history).not.toContain(secret);
    expect(history).toContain("über");
    expect(await git.run("log", "--format=%an <%ae> %ad %cn <%ce> %cd", "--date=raw", "-1", tip)).toBe(
      Array(2).fill("@gitgost-anonymous <anonymous@gitgost.local> 1800000000 +0000").join(" "),
    );
    const shape = (of: string): Promise<string> =>
      git.run("log", "--graph", "--topo-order", "--format=%T", `upstream..${of}`);
    expect(await shape(tip)).toBe(await shape("HEAD"));
    expect(await git.run("merge-base", "upstream", tip)).toBe(await git.run("rev-parse", "upstream"));

    const squashed = await rewrite({ isSquashed: true });
    expect(await git.run("rev-parse", `${squashed}^{tree}`)).toBe(tree);
    expect(await git.run("rev-list", "--count", `upstream..${squashed}`)).toBe("1");
    expect(await git.try("fsck", "--strict", "--no-dangling")).toMatchObject({ status: 0, stdout: "" });
    for (const secret of SECRETS) expect(await wholeHistory(squashed)).not.toContain(secret);
  });
});
