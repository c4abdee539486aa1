/**
 * ACK and NAK of versions 0 and 1 as no client of today asks for them: without multi_ack, with it alone, and detailed,
 * each with and without no-done. The judge is `git upload-pack --stateless-rpc`, asked with the same bytes.
 *
 * Without multi_ack one difference is meant: git says ACK again for an ancestor of the one common commit; the
 * specification has one ACK and then silence until `done`, and a client that has read one takes what follows for the
 * pack.
 */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FLUSH } from "../src/protocol/wire/pkt-line.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { createHistory } from "./support/history.js";
import { askGit, postFetch, type RawAnswer } from "./support/raw-fetch.js";

const FORMATS = ["sha1", "sha256"] as const;

let workspace: GitClient;
let server: TestServer;

beforeAll(async () => {
  workspace = createWorkspace();
  for (const objectFormat of FORMATS) await createHistory(workspace, `${objectFormat}.git`, { objectFormat });
  server = await createTestServer({ repositories: workspace.directory });
});
afterAll(async () => {
  await server.close();
  removeDirectory(workspace);
});

const CAPABILITIES = ["", " multi_ack", " multi_ack_detailed", " multi_ack_detailed no-done", " no-done"];

type Oids = (name: string) => Promise<string>;

/** What stands behind the wants. */
const CONVERSATIONS: Record<string, (oid: Oids, unknown: string) => Promise<(string | Buffer)[]>> = {
  "a clone": async () => ["done\n"],
  "nothing in common": async (_oid, unknown) => [`have ${unknown}\n`, FLUSH],
  "nothing in common, done": async (_oid, unknown) => [`have ${unknown}\n`, FLUSH, "done\n"],
  "one in common": async (oid) => [`have ${await oid("main~3")}\n`, FLUSH],
  "one in common, done": async (oid) => [`have ${await oid("main~3")}\n`, "done\n"],
  "one in common after a flush, done": async (oid) => [`have ${await oid("main~3")}\n`, FLUSH, "done\n"],
  "unknown before and behind": async (oid, unknown) => [
    `have ${unknown}\n`,
    `have ${await oid("main~3")}\n`,
    `have ${unknown}\n`,
    FLUSH,
  ],
  "several, an ancestor of one that was told": async (oid, unknown) => [
    `have ${await oid("main~5")}\n`,
    `have ${await oid("main~6")}\n`,
    `have ${await oid("side")}\n`,
    `have ${unknown}\n`,
    "done\n",
  ],
  "a parent that was not told": async (oid) => [
    `have ${await oid("main~2")}\n`,
    `have ${await oid("main~3")}\n`,
    `have ${await oid("main~3")}\n`,
    "done\n",
  ],
  "in common beside what is wanted only": async (oid, unknown) => [
    `have ${await oid("refs/hidden/secret")}\n`,
    `have ${unknown}\n`,
    FLUSH,
  ],
  "a blob and a tag": async (oid) => [
    `have ${await oid("main:README")}\n`,
    `have ${await oid("v9")}\n`,
    "done\n",
  ],
};

for (const objectFormat of FORMATS) {
  for (const version of [0, 1] as const) {
    // Version 1 is version 0 behind a greeting; the hash changes the lengths of ids only.
    if (version === 1 && objectFormat === "sha256") continue;
    describe(`${objectFormat}, v${version}: acknowledgments`, () => {
      for (const [name, conversation] of Object.entries(CONVERSATIONS)) {
        for (const wanted of [["main"], ["main", "side"]]) {
          if (wanted.length === 1 && (version === 1 || objectFormat === "sha256")) continue;
          it(`${name}; ${wanted.join(" and ")} wanted`, async () => {
            const repository = workspace.in(`${objectFormat}.git`);
            const oid: Oids = (revision) => repository.run("rev-parse", revision);
            const unknown = (objectFormat === "sha1" ? "5" : "6").repeat(objectFormat === "sha1" ? 40 : 64);
            const rest = await conversation(oid, unknown);
            const wants = await Promise.all(wanted.map(oid));
            for (const capabilities of CAPABILITIES) {
              const lines = wants.map((want, i) => `want ${want}${i === 0 ? capabilities : ""}\n`);
              const request = [...lines, FLUSH, ...rest];
              const ours = await postFetch(`${server.url}/${objectFormat}.git`, version, request);
              const theirs = await askGit(repository.directory, version, request);
              const expected = capabilities.includes("multi_ack") ? said(theirs) : withOneAck(said(theirs));
              expect(said(ours), capabilities).toEqual(expected);
              if (ours.rest.length > 0) await indexPack(ours.rest, objectFormat);
            }
          });
        }
      }
    });
  }
}

/** The lines, and whether a bare pack stands behind them. */
function said(answer: RawAnswer): readonly string[] {
  const pack = answer.rest.length === 0 ? [] : [answer.rest.toString("latin1", 0, 4)];
  return [...answer.packets, ...pack];
}

function withOneAck(lines: readonly string[]): readonly string[] {
  const first = lines.findIndex((line) => line.startsWith("ACK "));
  return lines.filter((line, i) => !line.startsWith("ACK ") || i === first);
}

/** The pack of a client without side-band is whole: nothing stands behind its trailer. */
async function indexPack(pack: Buffer, objectFormat: string): Promise<void> {
  const indexed = await workspace.tryWith(
    { input: pack },
    "-C",
    join(workspace.directory, `${objectFormat}.git`),
    "index-pack",
    "--stdin",
    "--fix-thin",
  );
  expect(indexed.stderr).toBe("");
}
