/**
 * The pack in every wrapping: bare, in side-band frames of a thousand bytes, in those of 64k, and with `sideband-all`
 * around everything. The pack within is the same, and git indexes it; progress text comes only where it is asked for.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FLUSH } from "../src/protocol/wire/pkt-line.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { createHistory } from "./support/history.js";
import { bandOf, command, postFetch, type RawAnswer } from "./support/raw-fetch.js";

let workspace: GitClient;
let disk: TestServer;
let memory: TestServer;
let want: string;

beforeAll(async () => {
  workspace = createWorkspace();
  const repository = await createHistory(workspace, "app.git");
  want = await repository.run("rev-parse", "main");
  disk = await createTestServer({ repositories: workspace.directory });
  memory = await createTestServer();
  await repository.run("push", "-q", "--mirror", memory.urlOf("app"));
});
afterAll(async () => {
  await disk.close();
  await memory.close();
  removeDirectory(workspace);
});

for (const name of ["disk", "memory"] as const) {
  const server = (): TestServer => (name === "disk" ? disk : memory);
  const url = (): string => server().urlOf("app");

  describe(name, () => {
    it("sends the pack bare to a client without side-band", async () => {
      const answer = await postFetch(url(), 0, [`want ${want}\n`, FLUSH, "done\n"]);
      expect(answer.packets).toEqual(["NAK"]);
      expect(await objectsIn(answer.rest)).toBe(await objectsOf(want));
    });

    for (const [capability, leastBytes, mostBytes] of [
      ["side-band", 1000, 1000],
      ["side-band-64k", 1001, 65_520],
    ] as const) {
      it(`frames the pack for ${capability}`, async () => {
        const answer = await postFetch(url(), 0, [`want ${want} ${capability}\n`, FLUSH, "done\n"]);
        const [nak, ...frames] = answer.packets;
        expect(nak).toBe("NAK");
        expect(frames.at(-1)).toBe("flush");
        expect(answer.rest).toHaveLength(0);
        // A frame is its length, its band and its data.
        const longest = Math.max(...frameSizes(answer));
        expect(longest).toBeGreaterThanOrEqual(leastBytes);
        expect(longest).toBeLessThanOrEqual(mostBytes);
        const behindNak = answer.bytes.subarray(8);
        expect(await objectsIn(bandOf(behindNak, 1))).toBe(await objectsOf(want));
        expect(bandOf(behindNak, 2).toString()).toContain("Counting objects: 100%");
        expect(bandOf(behindNak, 3)).toHaveLength(0);
      });

      it(`keeps progress to itself when asked, with ${capability}`, async () => {
        const request = [`want ${want} ${capability} no-progress\n`, FLUSH, "done\n"];
        const answer = await postFetch(url(), 0, request);
        expect(bandOf(answer.bytes.subarray(8), 2)).toHaveLength(0);
      });
    }

    it("prefers 64k where both side-bands are asked for", async () => {
      const request = [`want ${want} side-band side-band-64k\n`, FLUSH, "done\n"];
      expect(Math.max(...frameSizes(await postFetch(url(), 0, request)))).toBeGreaterThan(1000);
    });

    it("puts every line of v2 on band 1 with sideband-all", async () => {
      const request = command("fetch", `want ${want}`, "deepen 2", "no-progress", "sideband-all", "done");
      const answer = await postFetch(url(), 2, request);
      // The newest commit is a merge: two lines end behind it.
      const parents = (await workspace.in("app.git").run("rev-parse", "main^@")).split("\n");
      const [info, first, second, delim, packfile, ...frames] = answer.packets;
      expect(info).toBe("\u0001shallow-info");
      expect([first ?? "", second ?? ""].toSorted()).toEqual(
        parents.map((oid) => `\u0001shallow ${oid}`).toSorted(),
      );
      expect(delim).toBe("delim");
      expect(packfile).toBe("\u0001packfile");
      expect(frames.at(-1)).toBe("flush");
      expect(frames.slice(0, -1).every((frame) => frame.startsWith("\u0001"))).toBe(true);
    });

    it("tells an error of sideband-all on band 3", async () => {
      const unknown = "5".repeat(40);
      const request = command("fetch", `want ${unknown}`, "sideband-all", "done");
      const answer = await postFetch(url(), 2, request);
      expect(bandOf(answer.bytes, 3).toString()).toContain(`not our ref ${unknown}`);
      expect(bandOf(answer.bytes, 1)).toHaveLength(0);
    });

    it("is understood by the client that is told to want sideband-all", async () => {
      const directory = `all-${name}`;
      const cloned = await workspace.tryWith(
        { env: { GIT_TEST_SIDEBAND_ALL: "1", GIT_TRACE_PACKET: "1" } },
        "clone",
        "-q",
        "--depth=3",
        url(),
        directory,
      );
      expect(cloned.status, cloned.stderr).toBe(0);
      expect(cloned.stderr).toMatch(/clone> sideband-all/);
      expect(await workspace.in(directory).run("rev-parse", "--is-shallow-repository")).toBe("true");
      await workspace.in(directory).run("fetch", "-q", "--unshallow");
      await workspace.in(directory).run("fsck");
    });
  });
}

function frameSizes(answer: RawAnswer): number[] {
  return answer.packets.map((packet) => packet.length + 4);
}

async function objectsOf(tip: string): Promise<number> {
  const listed = await workspace.in("app.git").run("rev-list", "--objects", "--no-object-names", tip);
  return listed.split("\n").length;
}

/** Objects in a pack that git has found whole. */
async function objectsIn(pack: Buffer): Promise<number> {
  await workspace.run("init", "-q", "--bare", "scratch.git");
  const scratch = workspace.in("scratch.git");
  try {
    const indexed = await scratch.tryWith({ input: pack }, "index-pack", "--strict", "--stdin");
    expect(indexed.stderr).toBe("");
    return Number(/in-pack: (\d+)/.exec(await scratch.run("count-objects", "-v"))?.[1]);
  } finally {
    removeDirectory(scratch);
  }
}
