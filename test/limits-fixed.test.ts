/** The bounds of docs/limits.md that are no options: at the bound and one past it. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { pktLine, send } from "./support/raw-http.js";
import { pushOfBlob, RECEIVE_PACK_TYPE, UPLOAD_PACK_TYPE } from "./support/raw-push.js";

describe("fixed limits over HTTP", () => {
  let server: TestServer;
  let url: string;

  beforeAll(async () => {
    server = await createTestServer();
    url = server.urlOf("app");
    const headers = { "Content-Type": RECEIVE_PACK_TYPE };
    const pushed = await send(`${url}/git-receive-pack`, { body: pushOfBlob("seed", "seed\n"), headers });
    expect(pushed.body.toString()).toContain("unpack ok");
  });
  afterAll(() => server.close());

  async function ask(...lines: readonly string[]): Promise<string> {
    const headers = { "Content-Type": UPLOAD_PACK_TYPE, "Git-Protocol": "version=2" };
    const { body, status } = await send(`${url}/git-upload-pack`, { body: `${lines.join("")}0000`, headers });
    return `${status} ${body.toString()}`;
  }

  it("takes a pkt-line of 65,520 bytes, and none of 65,521", async () => {
    const command = pktLine("command=ls-refs\n");
    const longest = `fff0ref-prefix ${"x".repeat(65_520 - 4 - "ref-prefix ".length)}`;
    expect(await ask(command, "0001", longest, pktLine("ref-prefix refs/"))).toContain("refs/tags/seed");
    expect(await ask(command, "0001", `fff1${longest.slice(4)}x`)).toMatch(
      /ERR bad line length "fff1" at byte/,
    );
  });

  it("looks at 65,535 ref-prefixes, and sends all refs for one more", async () => {
    const lines = (count: number): string[] =>
      Array.from({ length: count }, () => pktLine("ref-prefix refs/heads/"));
    const asked = (count: number) => ask(pktLine("command=ls-refs\n"), "0001", lines(count).join(""));
    expect(await asked(65_535)).toBe("200 0000");
    expect(await asked(65_536)).toContain("refs/tags/seed");
  });

  it("takes 1,000 server options, and no more", async () => {
    const asked = (count: number) =>
      ask(
        pktLine("command=ls-refs\n"),
        pktLine("server-option=x\n").repeat(count),
        "0001",
        pktLine("symrefs"),
      );
    expect(await asked(1000)).toContain("refs/tags/seed");
    expect(await asked(1001)).toMatch(/ERR the request has more than 1000 server options/);
  });

  it("takes filters of 16,384 characters that combine 256, and no larger ones", async () => {
    const seed = /([0-9a-f]{40}) refs\/tags\/seed/.exec(await ask(pktLine("command=ls-refs\n")))?.[1];
    const asked = (filter: string) =>
      ask(
        pktLine("command=fetch\n"),
        "0001",
        pktLine(`want ${seed}\n`),
        pktLine(`filter ${filter}\n`),
        pktLine("done\n"),
      );
    const combined = (count: number): string => `combine:${Array(count).fill("tree:9").join("+")}`;
    // The combination is one of them.
    expect(await asked(combined(255))).toContain("packfile\n");
    expect(await asked(combined(256))).toMatch(/ERR a filter combines more than 256 filters/);
    const long = (length: number): string => `blob:limit=${"0".repeat(length - "blob:limit=1".length)}1`;
    expect(await asked(long(16_384))).toContain("packfile\n");
    expect(await asked(long(16_385))).toMatch(/ERR a filter has 16385 characters/);
  });

  it("takes paths of 4,096 characters", async () => {
    const asked = async (length: number): Promise<string> => {
      const tail = "/info/refs";
      const path = `/${"n/".repeat((length - tail.length - 1) >> 1).padEnd(length - tail.length - 1, "n")}${tail}`;
      expect(path).toHaveLength(length);
      const { body, status } = await send(server.url, { path });
      return `${status} ${body.toString()}`;
    };
    expect(await asked(4097)).toBe("404 there is nothing at this address\n");
    expect(await asked(4096)).toMatch(/^404 (?!there is nothing at this address)/);
  });

  it("takes heads of 16 KiB", async () => {
    const asked = async (size: number): Promise<number> =>
      (await send(`${url}/HEAD`, { headers: { "X-Long": "x".repeat(size) } })).status;
    expect(await asked(16_384 - 200)).toBe(200);
    expect(await asked(16_384)).toBe(431);
    expect(await asked(200_000).catch((error: NodeJS.ErrnoException) => error.code)).toSatisfy(
      (answer) => answer === 431 || answer === "ECONNRESET" || answer === "EPIPE",
    );
  });
});
