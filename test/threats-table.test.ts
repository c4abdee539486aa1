/** docs/threats.md names tests that there are, and every test of its own kind is named there. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../../", import.meta.url));
const rows = readFileSync(`${root}docs/threats.md`, "utf8")
  .split("\n")
  .filter((line) => line.startsWith("| ") && !/^\| (?:class|---)/.test(line))
  .map((line) => line.split(" | "));
const testsOf = (row: readonly string[]): readonly string[] =>
  [...(row[3] ?? "").matchAll(/`([^`]+)`/g)].map(([, file = ""]) => file);

describe("docs/threats.md", () => {
  it("has rows of a class, where it was seen, an answer and tests", () => {
    expect(rows.length).toBeGreaterThan(15);
    for (const row of rows) expect(row).toHaveLength(4);
  });

  it.each(rows.map((row) => [row[0]?.replace("| ", "") ?? "", testsOf(row)] as const))(
    "%s: its tests are there",
    (_, files) => {
      expect(files.length).toBeGreaterThan(0);
      expect(files.filter((file) => !file.endsWith(".test.ts") || !existsSync(root + file))).toEqual([]);
    },
  );

  it("names every test whose name begins with threats-", () => {
    const named = new Set(rows.flatMap(testsOf));
    const files = readdirSync(`${root}test`).filter((name) => /^threats-.*\.test\.ts$/.test(name));
    expect(files.filter((name) => name !== "threats-table.test.ts" && !named.has(`test/${name}`))).toEqual(
      [],
    );
  });
});
