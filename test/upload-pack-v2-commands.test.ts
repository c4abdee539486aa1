/**
 * The rarer parts of version 2: want-ref and wait-for-done with the client and beside git's own answers, object-info,
 * bundle-uri, session-id; each is refused where it was not advertised.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { createHistory } from "./support/history.js";
import { askGit, command, discover, postFetch } from "./support/raw-fetch.js";

const FORMATS = ["sha1", "sha256"] as const;

let workspace: GitClient;
let server: TestServer;

beforeAll(async () => {
  workspace = createWorkspace();
  for (const objectFormat of FORMATS) {
    const repository = await createHistory(workspace, `${objectFormat}.git`, { objectFormat });
    for (const [key, value] of [
      ["uploadpack.allowRefInWant", "true"],
      ["uploadpack.advertiseBundleURIs", "true"],
      ["uploadpack.hideRefs", "refs/hidden"],
      ["transfer.advertiseObjectInfo", "true"],
      ["transfer.advertiseSID", "true"],
      ["bundle.version", "1"],
      ["bundle.mode", "all"],
      ["bundle.heuristic", "creationToken"],
      ["bundle.daily.uri", "https://bundles.example.org/daily.bundle"],
      ["bundle.daily.creationToken", "17"],
    ] as const)
      await repository.run("config", key, value);
  }
  await createHistory(workspace, "plain.git", { commits: 3 });
  server = await createTestServer({ repositories: workspace.directory });
});
afterAll(async () => {
  await server.close();
  removeDirectory(workspace);
});

for (const objectFormat of FORMATS) {
  describe(objectFormat, () => {
    const url = (): string => `${server.url}/${objectFormat}.git`;
    const repository = (): GitClient => workspace.in(`${objectFormat}.git`);
    const oid = (revision: string): Promise<string> => repository().run("rev-parse", revision);
    const ask = (name: string, ...lines: readonly string[]): (string | Buffer)[] => {
      const [first = "", ...rest] = command(name, ...lines);
      return [first, `object-format=${objectFormat}`, ...rest];
    };
    const unknown = (objectFormat === "sha1" ? "5" : "6").repeat(objectFormat === "sha1" ? 40 : 64);

    it("resolves wanted refs", async () => {
      for (const lines of [
        ["want-ref refs/heads/main", "done"],
        ["want-ref HEAD", "want-ref refs/tags/v9", "done"],
        ["want-ref refs/heads/side", `have ${await oid("side~1")}`, "done"],
        ["want-ref refs/heads/side", `have ${await oid("side~1")}`],
      ]) {
        const request = ask("fetch", "no-progress", ...lines);
        expect(headOf(await postFetch(url(), 2, request))).toEqual(
          headOf(await askGit(repository().directory, 2, request)),
        );
      }
    });

    it("puts wanted refs behind shallow-info, where the client looks for them", async () => {
      const main = await oid("main");
      const request = ask("fetch", "no-progress", "want-ref refs/heads/main", "deepen 1", "done");
      // As the specification has it; git 2.39 writes the two sections the other way round, which its client refuses.
      expect(headOf(await postFetch(url(), 2, request))).toEqual([
        "shallow-info",
        `shallow ${main}`,
        "delim",
        "wanted-refs",
        `${main} refs/heads/main`,
        "delim",
        "packfile",
      ]);
      await workspace.run("init", "-q", `--object-format=${objectFormat}`, `shallow-${objectFormat}`);
      const copy = workspace.in(`shallow-${objectFormat}`);
      await copy.run("fetch", "-q", "--depth=1", url(), "refs/heads/main:refs/heads/fetched");
      expect(await copy.run("rev-list", "fetched")).toBe(main);
    });

    it("refuses wanted refs that are hidden or absent, alike", async () => {
      for (const name of ["refs/hidden/secret", "refs/heads/absent", "main"]) {
        const { packets } = await postFetch(url(), 2, ask("fetch", `want-ref ${name}`, "done"));
        expect(packets).toEqual([`ERR unknown ref ${name}`]);
      }
    });

    it("is asked for refs by name by the client", async () => {
      await workspace.run("init", "-q", `--object-format=${objectFormat}`, `named-${objectFormat}`);
      const copy = workspace.in(`named-${objectFormat}`);
      const fetched = await copy.tryWith(
        { env: { GIT_TRACE_PACKET: "1" } },
        "fetch",
        "-q",
        url(),
        "refs/heads/main:refs/heads/fetched",
        "refs/tags/*:refs/tags/*",
      );
      expect(fetched.status, fetched.stderr).toBe(0);
      expect(fetched.stderr).toContain("fetch> want-ref refs/heads/main");
      expect(fetched.stderr).toContain(`fetch< ${await oid("main")} refs/heads/main`);
      expect(await copy.run("rev-parse", "refs/heads/fetched")).toBe(await oid("main"));
      expect(await copy.run("rev-parse", "refs/tags/nested")).toBe(await oid("nested"));
      await copy.run("fsck");
    });

    it("waits for done: says what is common and sends no pack", async () => {
      const have = [`have ${await oid("main~2")}`, `have ${unknown}`, `have ${await oid("side")}`];
      const request = ask("fetch", "wait-for-done", `want ${await oid("main")}`, ...have);
      const ours = await postFetch(url(), 2, request);
      expect(ours.packets).toEqual((await askGit(repository().directory, 2, request)).packets);
      expect(ours.packets.some((packet) => packet === "ready" || packet === "packfile")).toBe(false);
    });

    it("tells the client what is common, without a pack (--negotiate-only)", async () => {
      await workspace.run("clone", "-q", url(), `talk-${objectFormat}`);
      const copy = workspace.in(`talk-${objectFormat}`);
      await copy.run("commit", "-q", "--allow-empty", "-m", "mine");
      const common = await copy.run("fetch", "--negotiate-only", "--negotiation-tip=HEAD", "origin");
      expect(common.split("\n")).toContain(await oid("main"));
      expect(common.split("\n")).not.toContain(await copy.run("rev-parse", "HEAD"));
      await copy.run("-c", "push.negotiate=true", "push", "-q", "--dry-run", "origin", "HEAD:refs/heads/new");
    });

    it("tells sizes of objects, and nothing of those that are absent or hidden", async () => {
      const [commit, tree, tag] = [await oid("main"), await oid("main^{tree}"), await oid("nested")];
      const [large, hidden] = [await oid("main:large.txt"), await oid("refs/hidden/secret:secret")];
      const seen = [commit, tree, tag, large, unknown];
      const request = ask("object-info", "size", ...seen.map((each) => `oid ${each}`));
      const { packets } = await postFetch(url(), 2, request);
      expect(packets).toEqual((await askGit(repository().directory, 2, request)).packets);
      expect(packets[4]).toBe(`${large} ${await repository().run("cat-file", "-s", large)}`);
      expect(packets[5]).toBe(`${unknown} `);
      const ofHidden = await postFetch(url(), 2, ask("object-info", "size", `oid ${hidden}`));
      expect(ofHidden.packets).toEqual(["size", `${hidden} `, "flush"]);
    });

    it("answers object-info without attributes or objects, and refuses what it is not", async () => {
      const main = await oid("main");
      expect((await postFetch(url(), 2, ask("object-info", `oid ${main}`))).packets).toEqual([main, "flush"]);
      expect((await postFetch(url(), 2, ask("object-info", "size"))).packets).toEqual(["flush"]);
      for (const line of ["type", "oid main", `oid ${main}0`]) {
        const { packets } = await postFetch(url(), 2, ask("object-info", "size", line));
        expect(packets).toHaveLength(1);
        expect(packets[0]).toMatch(/^ERR /);
      }
    });

    it("lists bundles as configured", async () => {
      expect((await postFetch(url(), 2, ask("bundle-uri"))).packets).toEqual([
        "bundle.version=1",
        "bundle.mode=all",
        "bundle.heuristic=creationToken",
        "bundle.daily.uri=https://bundles.example.org/daily.bundle",
        // The keys as git's own configuration has them: without case.
        "bundle.daily.creationtoken=17",
        "flush",
      ]);
      const { packets } = await postFetch(url(), 2, ask("bundle-uri", "what"));
      expect(packets).toEqual(["ERR bundle-uri: unexpected argument: 'what'"]);
    });
  });
}

describe("what was not switched on", () => {
  it("is neither advertised nor answered", async () => {
    const url = `${server.url}/plain.git`;
    const lines = (await discover(url, 2)).join("\n");
    expect(lines).not.toMatch(/object-info|bundle-uri|session-id|ref-in-want/);
    const main = await workspace.in("plain.git").run("rev-parse", "main");
    for (const [request, answer] of [
      [command("object-info", "size", `oid ${main}`), "ERR invalid command 'object-info'"],
      [command("bundle-uri"), "ERR invalid command 'bundle-uri'"],
      [command("fetch", "want-ref refs/heads/main", "done"), /^ERR .*unexpected line.*want-ref/],
      [command("nonsense"), "ERR invalid command 'nonsense'"],
    ] as const) {
      const { packets } = await postFetch(url, 2, request);
      expect(packets).toHaveLength(1);
      expect(packets[0]).toMatch(answer);
    }
    const [first = "", ...rest] = command("ls-refs");
    expect((await postFetch(url, 2, [first, "session-id=mine", ...rest])).packets[0]).toMatch(/^ERR /);
  });
});

describe("server-option", () => {
  it("is taken with every command, and changes nothing", async () => {
    const cloned = await workspace.tryWith(
      { env: { GIT_TRACE_PACKET: "1" } },
      "clone",
      "-q",
      "--server-option=one",
      "--server-option=two=2",
      `${server.url}/plain.git`,
      "optioned",
    );
    expect(cloned.status, cloned.stderr).toBe(0);
    expect(cloned.stderr.match(/clone> server-option=two=2/g)).toHaveLength(2);
    const listed = await workspace.run("ls-remote", "-o", "three", `${server.url}/plain.git`);
    expect(listed).toBe(await workspace.run("ls-remote", `${server.url}/plain.git`));
  });
});

describe("session-id", () => {
  const ID = /session-id=([!-~]+)/;

  it("is another one for each request, in every version and for both services", async () => {
    const seen = new Set<string>();
    for (const version of [0, 1, 2] as const) {
      for (const service of ["git-upload-pack", "git-receive-pack"] as const) {
        const id = ID.exec((await discover(`${server.url}/sha1.git`, version, service)).join("\n"))?.[1];
        expect(id).toBeDefined();
        seen.add(id ?? "");
      }
    }
    expect(seen.size).toBe(6);
  });

  it("is taken from the client that sends its own", async () => {
    for (const version of [0, 2]) {
      const fetched = await workspace.tryWith(
        { env: { GIT_TRACE_PACKET: "1" } },
        "-c",
        "transfer.advertiseSID=true",
        "-c",
        `protocol.version=${version}`,
        "clone",
        "-q",
        "--bare",
        `${server.url}/sha1.git`,
        `sid-${version}`,
      );
      expect(fetched.status, fetched.stderr).toBe(0);
      expect(fetched.stderr).toMatch(/(clone|fetch-pack)> .*session-id=/);
    }
  });
});

/** The answer up to the pack. */
function headOf({ packets }: { readonly packets: readonly string[] }): readonly string[] {
  const end = packets.indexOf("packfile");
  return end < 0 ? packets : packets.slice(0, end + 1);
}
