/**
 * What a fetch may ask for besides the tips it was shown, by policy: the table of
 * `src/protocol/upload-pack/check-wants.ts`, by raw requests and with the client. Git is the judge in versions 0 and 1,
 * but for single trees and blobs; docs/decisions/wants-in-protocol-v2.md says why version 2 differs.
 */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FLUSH } from "../src/protocol/wire/pkt-line.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { createHistory } from "./support/history.js";
import { askGit, command, postFetch } from "./support/raw-fetch.js";

const POLICIES = {
  none: [],
  tip: ["allowTipSHA1InWant"],
  reachable: ["allowReachableSHA1InWant"],
  "tip and reachable": ["allowTipSHA1InWant", "allowReachableSHA1InWant"],
  any: ["allowAnySHA1InWant"],
} as const;
type Policy = keyof typeof POLICIES;

const NAMES = [
  "tip",
  "peeled tag",
  "ancestor",
  "blob",
  "hidden tip",
  "behind hidden",
  "hidden blob",
  "dangling",
  "absent",
] as const;
type Name = (typeof NAMES)[number];

const VISIBLE = ["tip", "peeled tag", "ancestor", "blob"] as const;
const HIDDEN = ["hidden tip", "behind hidden", "hidden blob"] as const;

/** Over HTTP what visible refs lead to is given out by every policy. */
const GIVEN: Record<Policy, readonly Name[]> = {
  none: VISIBLE,
  tip: [...VISIBLE, "hidden tip"],
  reachable: [...VISIBLE, ...HIDDEN],
  "tip and reachable": [...VISIBLE, ...HIDDEN],
  any: [...VISIBLE, ...HIDDEN, "dangling"],
};

let workspace: GitClient;
let server: TestServer;
const oids = new Map<Name, string>();

beforeAll(async () => {
  workspace = createWorkspace();
  const first = await createHistory(workspace, "none.git");
  const secret = await first.run("rev-parse", "refs/hidden/secret");
  const tree = `${secret}^{tree}`;
  const below = await first.run("commit-tree", "-p", secret, "-m", "more", tree);
  await first.run("update-ref", "refs/hidden/secret", below);
  await first.run("config", "uploadpack.hideRefs", "refs/hidden");
  oids.set("tip", await first.run("rev-parse", "main"));
  oids.set("peeled tag", await first.run("rev-parse", "v9^{}"));
  oids.set("ancestor", await first.run("rev-parse", "main~6"));
  oids.set("blob", await first.run("rev-parse", "main~6:README"));
  oids.set("hidden tip", below);
  oids.set("behind hidden", secret);
  oids.set("hidden blob", await first.run("rev-parse", "refs/hidden/secret:secret"));
  oids.set("dangling", await first.run("commit-tree", "-m", "never named", tree));
  oids.set("absent", "5".repeat(40));
  for (const policy of Object.keys(POLICIES) as Policy[]) {
    const name = directoryOf(policy);
    if (policy !== "none") await workspace.run("clone", "-q", "--mirror", first.directory, name);
    const repository = workspace.in(name);
    await repository.run("config", "uploadpack.hideRefs", "refs/hidden");
    for (const key of POLICIES[policy]) await repository.run("config", `uploadpack.${key}`, "true");
    await copyHidden(first, repository);
  }
  server = await createTestServer({ repositories: workspace.directory });
});
afterAll(async () => {
  await server.close();
  removeDirectory(workspace);
});

/** The hidden ref and the commit that no ref names: no fetch brings these. */
async function copyHidden(from: GitClient, to: GitClient): Promise<void> {
  if (from.directory === to.directory) return;
  const [hidden = "", dangling = ""] = [oids.get("hidden tip"), oids.get("dangling")];
  const listed = await from.tryWith(
    { input: `${hidden}\n${dangling}\n` },
    "-c",
    "pack.writeBitmaps=false",
    "pack-objects",
    "-q",
    "--revs",
    join(to.directory, "objects", "pack", "pack"),
  );
  expect(listed.stderr).toBe("");
  await to.run("update-ref", "refs/hidden/secret", hidden);
}

function directoryOf(policy: Policy): string {
  return `${policy.replaceAll(" ", "-")}.git`;
}

const oidOf = (name: Name): string => oids.get(name) ?? "";

for (const policy of Object.keys(POLICIES) as Policy[]) {
  describe(`policy ${policy}`, () => {
    const url = (): string => `${server.url}/${directoryOf(policy)}`;

    for (const name of NAMES) {
      const given = GIVEN[policy].includes(name);
      for (const version of [0, 1, 2] as const) {
        it(`v${version} over HTTP ${given ? "gives out" : "refuses"} ${name}`, async () => {
          const oid = oidOf(name);
          const request =
            version === 2
              ? command("fetch", `want ${oid}`, "no-progress", "done")
              : [`want ${oid} side-band-64k no-progress\n`, FLUSH, "done\n"];
          const ours = (await postFetch(url(), version, request)).packets[0];
          const accepted = version === 2 ? "packfile" : "NAK";
          expect(ours).toBe(given ? accepted : `ERR upload-pack: not our ref ${oid}`);
          const isCommit = name !== "blob" && name !== "hidden blob";
          // Where hidden tips may be asked for, git over HTTP also gives out what these lead to.
          const isStricter = policy === "tip" && name === "behind hidden";
          if (version === 2 || !isCommit || isStricter) return;
          const repository = workspace.in(directoryOf(policy));
          expect((await askGit(repository.directory, version, request)).packets[0]).toBe(ours);
        });
      }
    }

    it("is advertised in v0, and followed by the client", async () => {
      const allowed = new Set<string>(POLICIES[policy]);
      // The client itself asks for nothing that the server does not say it allows.
      const asks = (name: Name): boolean =>
        name === "tip" || (allowed.size > 0 && GIVEN[policy].includes(name));
      for (const name of ["tip", "ancestor", "hidden tip", "behind hidden", "dangling"] as const) {
        const copy = await emptyRepository(`v0-${policy}-${name}`);
        const fetched = await copy.try("-c", "protocol.version=0", "fetch", "-q", url(), oidOf(name));
        if (asks(name)) {
          expect(fetched.stderr).toBe("");
          expect(await copy.run("rev-parse", "FETCH_HEAD")).toBe(oidOf(name));
        } else if (allowed.size === 0) {
          expect(fetched.stderr).toContain("Server does not allow request for unadvertised object");
        } else {
          expect(fetched.stderr).toContain(`upload-pack: not our ref ${oidOf(name)}`);
        }
      }
    });

    it("is followed by the client in v2", async () => {
      for (const name of ["tip", "ancestor", "hidden tip", "behind hidden", "dangling"] as const) {
        const copy = await emptyRepository(`v2-${policy}-${name}`);
        const fetched = await copy.try("-c", "protocol.version=2", "fetch", "-q", url(), oidOf(name));
        if (GIVEN[policy].includes(name)) {
          expect(fetched.stderr).toBe("");
          expect(await copy.run("rev-parse", "FETCH_HEAD")).toBe(oidOf(name));
        } else {
          expect(fetched.stderr).toContain(`remote error: upload-pack: not our ref ${oidOf(name)}`);
        }
      }
    });
  });
}

describe("on one connection, v0", () => {
  const command = `node ${JSON.stringify(new URL("./support/stdio-upload-pack.js", import.meta.url).pathname)}`;
  const fetchOver = async (policy: Policy, name: Name) => {
    const copy = await emptyRepository(`stdio-${policy}-${name}`);
    return copy.try(
      "-c",
      "protocol.version=0",
      "fetch",
      "-q",
      `--upload-pack=${command}`,
      join(workspace.directory, directoryOf(policy)),
      oidOf(name),
    );
  };

  it("refuses an ancestor unless what is reachable is allowed", async () => {
    expect((await fetchOver("none", "ancestor")).stderr).toContain("does not allow request for unadvertised");
    expect((await fetchOver("tip", "ancestor")).stderr).toContain("upload-pack: not our ref");
    expect(await fetchOver("reachable", "ancestor")).toMatchObject({ status: 0, stderr: "" });
    expect(await fetchOver("tip", "hidden tip")).toMatchObject({ status: 0, stderr: "" });
  });
});

async function emptyRepository(name: string): Promise<GitClient> {
  const directory = `copies/${name.replaceAll(" ", "-")}`;
  await workspace.run("init", "-q", directory);
  return workspace.in(directory);
}
