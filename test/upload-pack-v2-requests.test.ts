/**
 * Requests of version 2 as no client writes them: what is answered like git's own upload-pack does to the same bytes,
 * and what is refused, in one line, where git says nothing and ends.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { createHistory } from "./support/history.js";
import { askGit, command, postFetch } from "./support/raw-fetch.js";

const UNKNOWN = "5".repeat(40);

let workspace: GitClient;
let repository: GitClient;
let server: TestServer;

beforeAll(async () => {
  workspace = createWorkspace();
  repository = await createHistory(workspace, "app.git");
  await repository.run("config", "uploadpack.allowFilter", "true");
  server = await createTestServer({ repositories: workspace.directory });
});
afterAll(async () => {
  await server.close();
  removeDirectory(workspace);
});

/** `<revision>` in a line is the id that git finds for it. */
async function lines(template: readonly string[]): Promise<string[]> {
  return Promise.all(
    template.map(async (line) => {
      const [, before = "", revision = ""] = /^(.*)<(.+)>$/.exec(line) ?? [];
      return revision === "" ? line : `${before}${await repository.run("rev-parse", revision)}`;
    }),
  );
}

/** The answer up to the pack. */
function headOf({ packets }: { readonly packets: readonly string[] }): readonly string[] {
  const end = packets.indexOf("packfile");
  return end < 0 ? packets : packets.slice(0, end + 1);
}

const LIKE_GIT: Record<string, readonly [name: string, ...template: string[]]> = {
  "no wants": ["fetch", "done"],
  "a want twice": ["fetch", "want <main>", "want <main>", "done"],
  "neither haves nor done": ["fetch", "want <main>"],
  "haves that are a blob and a tag": ["fetch", "want <main>", "have <main:README>", "have <nested>"],
  "a tag wanted, an ancestor had": ["fetch", "want <nested>", "have <main~30>"],
  "nothing in common": ["fetch", "want <main>", `have ${UNKNOWN}`],
  "one of two wants had": ["fetch", "want <main>", "want <side>", "have <side>"],
  "a pack waited for, and done": ["fetch", "want <main>", "have <main~3>", "wait-for-done", "done"],
  "a shallow commit that is not there": ["fetch", "want <main>", `shallow ${UNKNOWN}`, "deepen 1", "done"],
  "a shallow commit without deepening": ["fetch", "want <main>", "shallow <main~3>", "done"],
  "prefixes, HEAD among them": [
    "ls-refs",
    "peel",
    "symrefs",
    "ref-prefix refs/tags/",
    "ref-prefix refs/heads/m",
    "ref-prefix HEAD",
  ],
  "a prefix that is empty": ["ls-refs", "ref-prefix "],
  "prefixes that cover each other": ["ls-refs", "ref-prefix refs/", "ref-prefix refs/heads/"],
};

const REFUSED: Record<string, readonly [message: RegExp, name: string, ...template: string[]]> = {
  "a depth of 0": [/^ERR 'deepen 0' should end in a number/, "fetch", "want <main>", "deepen 0", "done"],
  "a depth below 0": [/^ERR 'deepen -1'/, "fetch", "want <main>", "deepen -1", "done"],
  "a time that is none": [/^ERR 'deepen-since x'/, "fetch", "want <main>", "deepen-since x", "done"],
  "a ref that is none": [
    /^ERR .*deepen-not is not a ref: deepen-not nosuch$/,
    "fetch",
    "want <main>",
    "deepen-not nosuch",
    "done",
  ],
  "depth and time": [
    /^ERR deepen and deepen-since \(or deepen-not\) cannot be used together$/,
    "fetch",
    "want <main>",
    "deepen 1",
    "deepen-since 5",
    "done",
  ],
  "a filter that is none": [/^ERR invalid filter-spec 'nonsense'/, "fetch", "want <main>", "filter nonsense"],
  "two filters": [
    /^ERR multiple filter-specs cannot be combined$/,
    "fetch",
    "want <main>",
    "filter blob:none",
    "filter tree:1",
  ],
  "a line that fetch does not know": [/^ERR unexpected line: 'what'$/, "fetch", "want <main>", "what"],
  "a line that ls-refs does not know": [/^ERR unexpected line: 'what'$/, "ls-refs", "what"],
  "a want of nothing": [/^ERR 'want x' should end in a sha1 object id/, "fetch", "want x", "done"],
};

describe("requests of version 2", () => {
  for (const [name, [verb, ...template]] of Object.entries(LIKE_GIT)) {
    it(`answers like git: ${name}`, async () => {
      const request = command(verb, ...(await lines(template)));
      expect(headOf(await postFetch(server.urlOf("app"), 2, request))).toEqual(
        headOf(await askGit(repository.directory, 2, request)),
      );
    });
  }

  it("says once what a client has said twice", async () => {
    const [want = "", have = ""] = await lines(["want <main>", "have <main~3>"]);
    const { packets } = await postFetch(server.urlOf("app"), 2, command("fetch", want, have, have));
    expect(packets.filter((packet) => packet.startsWith("ACK "))).toEqual([have.replace("have", "ACK")]);
  });

  for (const [name, [message, verb, ...template]] of Object.entries(REFUSED)) {
    it(`refuses in one line: ${name}`, async () => {
      const request = command(verb, ...(await lines(template)));
      const { packets, status } = await postFetch(server.urlOf("app"), 2, request);
      expect(status).toBe(200);
      expect(packets).toHaveLength(1);
      expect(packets[0]).toMatch(message);
      expect((await askGit(repository.directory, 2, request)).packets).not.toContain("packfile");
    });
  }
});
