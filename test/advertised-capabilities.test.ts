/**
 * docs/protocol-support.md beside what the server really says: every word that is advertised has a row, and every row
 * is advertised exactly when it says so: with nothing configured, and with each setting by itself.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { createHistory } from "./support/history.js";
import { discover } from "./support/raw-fetch.js";

const PAGE = readFileSync(fileURLToPath(new URL("../../docs/protocol-support.md", import.meta.url)), "utf8");

interface Row {
  readonly word: string;
  readonly service: "git-upload-pack" | "git-receive-pack";
  readonly versions: readonly string[];
  readonly kind: "always" | "with" | "unless";
  /** `key=value` */
  readonly settings: readonly string[];
}

const ROW =
  /^\| `(?<word>[a-z0-9_=-]+)` \| (?<service>upload-pack|receive-pack) \| (?<versions>v[0-2](?:, v[0-2])*) \| (?<kind>always|with|unless)(?<settings>.*) \|$/gm;

function rows(): readonly Row[] {
  return [...PAGE.matchAll(ROW)].map(({ groups = {} }) => ({
    word: groups["word"] ?? "",
    service: groups["service"] === "upload-pack" ? "git-upload-pack" : "git-receive-pack",
    versions: (groups["versions"] ?? "").split(", "),
    kind: groups["kind"] as Row["kind"],
    settings: [...(groups["settings"] ?? "").matchAll(/`([^`]+)`/g)].map(([, setting = ""]) => setting),
  }));
}

const ROWS = rows();
const SETTINGS = [...new Set(ROWS.flatMap((row) => row.settings))];
const SERVICES = ["git-upload-pack", "git-receive-pack"] as const;

let workspace: GitClient;
let server: TestServer;

beforeAll(async () => {
  workspace = createWorkspace();
  for (const objectFormat of ["sha1", "sha256"] as const) {
    await createHistory(workspace, `${objectFormat}.git`, { objectFormat, commits: 3 });
  }
  server = await createTestServer({ repositories: workspace.directory });
});
afterAll(async () => {
  await server.close();
  removeDirectory(workspace);
});

function documented(service: Row["service"], version: number, configured: readonly string[]): string[] {
  const isOn = (row: Row): boolean => {
    const touched = row.settings.some((setting) => configured.includes(setting));
    return row.kind === "always" || (row.kind === "with") === touched;
  };
  return ROWS.filter((row) => row.service === service && row.versions.includes(`v${version}`) && isOn(row))
    .map((row) => row.word)
    .toSorted((a, b) => a.localeCompare(b));
}

async function advertised(name: string, service: Row["service"], version: 0 | 1 | 2): Promise<string[]> {
  const packets = await discover(`${server.url}/${name}.git`, version, service);
  const lines =
    version === 2
      ? packets.slice(1, packets.indexOf("flush"))
      : (packets.find((packet) => packet.includes("\0"))?.split("\0")[1] ?? "").trim().split(" ");
  return lines.flatMap(words).toSorted((a, b) => a.localeCompare(b));
}

/** `fetch=shallow filter` is `fetch`, `fetch=shallow`, `fetch=filter`; values of other capabilities are left out. */
function words(line: string): string[] {
  const [name = "", values] = line.split(/=(.*)/s);
  const isList = ["fetch", "ls-refs", "object-info"].includes(name) && values !== undefined;
  return [name, ...(isList ? values.split(" ").map((value) => `${name}=${value}`) : [])];
}

async function expectAsDocumented(name: string, configured: readonly string[]): Promise<void> {
  for (const service of SERVICES) {
    for (const version of [0, 1, 2] as const) {
      if (service === "git-receive-pack" && version === 2) continue;
      expect(await advertised(name, service, version), `${service} v${version}`).toEqual(
        documented(service, version, configured),
      );
    }
  }
}

describe("the table of what is advertised", () => {
  it("is read whole", () => {
    const section = PAGE.slice(PAGE.indexOf("## What is advertised"));
    const lines = section.split("\n").filter((line) => line.startsWith("| `"));
    expect(ROWS).toHaveLength(lines.length);
    expect(ROWS.length).toBeGreaterThan(40);
    expect(SETTINGS.length).toBeGreaterThan(10);
  });

  it("names every capability of the tables above it that has a word of its own", () => {
    const tables = PAGE.slice(0, PAGE.indexOf("## What is advertised"));
    const missing = new Set(ROWS.map((row) => row.word.replace(/^.*=/, "")));
    // What v2 calls a feature of fetch stands under the name of the argument that it allows; sizes under object-info.
    for (const word of missing) if (tables.includes(word)) missing.delete(word);
    expect([...missing]).toEqual(["ref-in-want", "size"]);
    expect(tables).toContain("want-ref");
  });

  for (const name of ["sha1", "sha256"]) {
    it(`is what is said with nothing configured, ${name}`, async () => {
      await expectAsDocumented(name, []);
    });
  }

  for (const setting of SETTINGS) {
    it(`is what is said with ${setting}`, async () => {
      const [key = "", value = ""] = setting.split("=");
      const repository = workspace.in("sha1.git");
      await repository.run("config", key, value);
      try {
        await expectAsDocumented("sha1", [setting]);
      } finally {
        await repository.run("config", "--unset", key);
      }
    });
  }

  it("answers a push of version 2 in version 0", async () => {
    expect(await advertised("sha1", "git-receive-pack", 0)).toEqual(documented("git-receive-pack", 0, []));
    const [first = ""] = await discover(`${server.url}/sha1.git`, 2, "git-receive-pack");
    expect(first).toContain("report-status");
  });
});
