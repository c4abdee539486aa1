/** Far more of something than anyone sends, within the limits: it is answered, and not with a failure of the server. */
import { randomBytes } from "node:crypto";
import { deflateSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { formatEntryHeader } from "../src/pack/entry-header.js";
import { formatEntry } from "../src/pack/pack-writer.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { DEFAULT_REPOSITORY_SETTINGS } from "../src/storage/repository-settings-defaults.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { pktLine, send } from "./support/raw-http.js";
import {
  blobOid,
  formatCommands,
  pushOfBlob,
  RECEIVE_PACK_TYPE,
  sealPack,
  UPLOAD_PACK_TYPE,
} from "./support/raw-push.js";

// Much work beside other tests on a small machine.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 });

/** More than a call of a function takes arguments. */
const MANY = 140_000;

describe("very many", () => {
  let server: TestServer;
  const errors: unknown[] = [];
  const oids: string[] = [];

  beforeAll(async () => {
    const { receive, uploadPack } = DEFAULT_REPOSITORY_SETTINGS;
    server = await createTestServer({
      repositories: createMemoryRepositoryStore({
        settings: () => ({
          ...DEFAULT_REPOSITORY_SETTINGS,
          receive: { ...receive, shallowUpdate: true },
          uploadPack: { ...uploadPack, allowAnySha1InWant: true, allowRefInWant: true },
        }),
      }),
      log: ({ level, message, error }) => {
        if (level === "error") errors.push(message, error);
      },
    });
    const entries: Buffer[] = [];
    for (let i = 0; i < MANY; i++) {
      const blob = Buffer.from(`${i}`);
      oids.push(blobOid(blob));
      // Stored, not deflated: it is about their number.
      entries.push(Buffer.concat([formatEntryHeader(3, blob.length), deflateSync(blob, { level: 0 })]));
    }
    const sparse = Buffer.alloc(1_000_000, "a");
    oids.push(blobOid(sparse));
    const commands = formatCommands([{ newOid: oids[0] ?? "", name: "refs/tags/first" }]);
    expect(
      await post("git-receive-pack", [
        Buffer.from(commands),
        sealPack(MANY + 1, Buffer.concat(entries), formatEntry("blob", sparse)),
      ]),
    ).toContain("unpack ok\n");
  });
  afterAll(() => server.close());

  async function post(
    service: "git-receive-pack" | "git-upload-pack",
    body: readonly (Buffer | string)[],
    version = 2,
  ): Promise<string> {
    const { status, body: answer } = await send(`${server.urlOf("app")}/${service}`, {
      body: Buffer.concat(body.map((part) => Buffer.from(part))),
      headers: {
        "Content-Type": service === "git-receive-pack" ? RECEIVE_PACK_TYPE : UPLOAD_PACK_TYPE,
        "Git-Protocol": `version=${version}`,
      },
    });
    expect(status).toBe(200);
    expect(errors.splice(0)).toEqual([]);
    return answer.toString("latin1");
  }

  const lines = (texts: readonly string[]): string => texts.map((text) => pktLine(`${text}\n`)).join("");
  const fetch = (texts: readonly string[]): Promise<string> =>
    post("git-upload-pack", [pktLine("command=fetch\n"), "0001", lines(texts), "0000"]);
  const first = (): string => oids[0] ?? "";

  it("haves that are common, in version 2 and 0", async () => {
    const haves = oids.slice(1).map((oid) => `have ${oid}`);
    const acknowledged = await fetch([`want ${first()}`, ...haves]);
    expect(acknowledged).toContain("acknowledgments\n");
    const old = [lines([`want ${first()} multi_ack_detailed`]), "0000", lines(haves), "0000"];
    expect(await post("git-upload-pack", old, 0)).toMatch(/(ACK|NAK)/);
  });

  it("the same have, over and over", async () => {
    const haves = Array.from({ length: MANY }, () => `have ${first()}`);
    expect(await fetch([`want ${first()}`, ...haves])).toContain("acknowledgments\n");
    expect(await fetch([`want ${first()}`, ...haves, "done"])).toContain("packfile\n");
  });

  it("wants", async () => {
    expect(await fetch([...oids.slice(0, MANY).map((oid) => `want ${oid}`), "done"])).toContain("packfile\n");
  });

  it("shallow lines of commits that nobody has", async () => {
    const shallow = Array.from({ length: MANY }, () => `shallow ${randomBytes(20).toString("hex")}`);
    expect(await fetch([`want ${first()}`, ...shallow, "deepen 1", "done"])).toContain("packfile\n");
    const old = [
      lines([`want ${first()} multi_ack_detailed`, ...shallow, "deepen 1"]),
      "0000",
      lines(["done"]),
    ];
    expect(await post("git-upload-pack", old, 0)).toContain("PACK");
    const pushed = await post("git-receive-pack", [lines(shallow), pushOfBlob("shallow", "pushed\n")]);
    expect(pushed).toContain("unpack ok\n");
  });

  it("refs that are not there", async () => {
    const names = Array.from({ length: MANY }, (_, i) => `refs/heads/${i}`);
    expect(await fetch([...names.map((name) => `want-ref ${name}`), "done"])).toMatch(/ERR unknown ref/);
    expect(await fetch([`want ${first()}`, ...names.map((name) => `deepen-not ${name}`), "done"])).toMatch(
      /ERR /,
    );
  });

  it("characters in one pattern of a sparse filter", async () => {
    expect(await fetch([`want ${first()}`, `filter sparse:oid=${oids.at(-1)}`, "done"])).toContain(
      "packfile\n",
    );
  });

  it("sparse filters in one, which are not all read", async () => {
    const filter = `filter combine:${Array(200)
      .fill(`sparse:oid=${oids.at(-1)}`)
      .join("+")}`;
    expect(await fetch([`want ${first()}`, filter, "done"])).toMatch(
      /sparse specifications .* more than 1048576 bytes/,
    );
  });

  it("pushed commands, and refs to list", async () => {
    const commands = Array.from({ length: 100_000 }, (_, i) => ({
      newOid: first(),
      name: `refs/tags/t${i}`,
    }));
    const more = Array.from({ length: 50_000 }, (_, i) => ({ newOid: first(), name: `refs/tags/more/${i}` }));
    for (const part of [commands, more]) {
      const report = await post("git-receive-pack", [formatCommands(part), sealPack(0)]);
      expect(report.match(/ok refs\/tags\//g)).toHaveLength(part.length);
    }
    const listed = await post("git-upload-pack", [
      pktLine("command=ls-refs\n"),
      "0001",
      pktLine("peel\n"),
      "0000",
    ]);
    expect(listed.match(/refs\/tags\//g)?.length).toBeGreaterThan(150_000);
    for (const service of ["git-upload-pack", "git-receive-pack"]) {
      const { status, body } = await send(`${server.urlOf("app")}/info/refs?service=${service}`);
      expect(status).toBe(200);
      expect(body.toString().match(/refs\/tags\//g)?.length).toBeGreaterThan(150_000);
    }
    const wanted = [...commands, ...more].map(({ name }) => `want-ref ${name}`);
    expect(await fetch([...wanted, "done"])).toContain("packfile\n");
  });
});
