/**
 * Imports point down: from a folder of src/ to itself or to a folder of lower rank, never up and never sideways.
 * The one rule about structure that a machine checks; ARCHITECTURE.md has the table in words.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const RANKS: Record<string, number> = {
  base: 0,
  object: 1,
  pack: 2,
  storage: 3,
  database: 2,
  engine: 4,
  protocol: 5,
  access: 5,
  hooks: 5,
  events: 5,
  client: 6,
  transport: 7,
  deploy: 7,
  api: 8,
  gateway: 8,
  server: 9,
  cli: 10,
  testing: 10,
  "index.ts": 10,
};

/** Folders that may name a backend: the composition root and what stands on it. */
const NAMES_A_BACKEND = new Set(["storage", "server", "cli", "testing", "index.ts"]);

const source = fileURLToPath(new URL("../../src", import.meta.url));

function importsOf(file: string): readonly string[] {
  const text = readFileSync(file, "utf8");
  return [...text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)].map((match) =>
    resolve(dirname(file), match[1] ?? ""),
  );
}

function folderOf(path: string): string {
  const [first = ""] = relative(source, path).split("/");
  return first.endsWith(".js") ? `${first.slice(0, -3)}.ts` : first;
}

describe("imports", () => {
  const files = readdirSync(source, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => join(source, name));

  it("are read from the sources", () => {
    expect(files.length).toBeGreaterThan(50);
    expect(files.flatMap(importsOf).length).toBeGreaterThan(200);
  });

  it("point down", () => {
    const wrong: string[] = [];
    for (const file of files) {
      const from = folderOf(file);
      const isTest = file.endsWith(".test.ts");
      for (const target of importsOf(file)) {
        const to = folderOf(target);
        if (to.startsWith("..") && isTest) continue;
        const down = from === to || (RANKS[to] ?? Infinity) < (RANKS[from] ?? -1);
        const backend =
          /storage\/(?:disk|memory|object-store)\//.test(target) && !NAMES_A_BACKEND.has(from) && !isTest;
        if (!down || backend) wrong.push(`${relative(source, file)} imports ${relative(source, target)}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  /** Compiled files and packages that are loaded with one of them, at once. */
  function loadedWith(name: string): readonly string[] {
    const compiled = fileURLToPath(new URL("../src", import.meta.url));
    const packages = new Set<string>();
    const reached = new Set([join(compiled, name)]);
    for (const file of reached) {
      const text = readFileSync(file, "utf8");
      for (const [, target = ""] of text.matchAll(/^(?:import|export)\b[^;="]*"([^"]+)";/gm))
        if (target.startsWith(".")) reached.add(resolve(dirname(file), target));
        else packages.add(target);
    }
    return [...packages, ...[...reached].map((file) => relative(compiled, file))];
  }

  /** For some servers and commands only; each takes a good part of the time in which a server starts. */
  const LIBRARIES = [
    "ssh2",
    "kysely",
    "database/kysely.js",
    "jose",
    "cockatiel",
    "@aws-sdk/client-s3",
    "@aws-sdk/s3-request-presigner",
    "@octokit/rest",
    "@gitbeaker/core",
    "gitea-js",
  ];

  it("load no library into a server that does without", () => {
    const names = loadedWith("server/git-server.js");
    expect(names).toContain("piscina");
    expect(names.filter((name) => LIBRARIES.includes(name))).toEqual([]);
  });

  it("load nothing of a server or a store before the command line knows what it is to do", () => {
    const compiled = fileURLToPath(new URL("../src/cli/commands.js", import.meta.url));
    const commands = [...readFileSync(compiled, "utf8").matchAll(/import\("\.\/([^"]+)"\)/g)].map(
      ([, file = ""]) => `cli/${file}`,
    );
    expect(commands).toContain("cli/serve-command.js");
    for (const command of commands) {
      const names = loadedWith(command);
      expect(names.filter((name) => /^(?:storage\/disk|pack|protocol|transport)\//.test(name))).toEqual([]);
      expect(names.filter((name) => LIBRARIES.includes(name))).toEqual([]);
      expect(names).not.toContain("server/git-server.js");
      expect(names).not.toContain("base/worker-pool.js");
    }
    // Nor of one command for another.
    expect(loadedWith("cli/gitwharf.js").filter((name) => commands.includes(name))).toEqual([]);
  });
});
