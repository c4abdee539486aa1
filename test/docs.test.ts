/** The tables of docs/ say what the code says. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { AUDIT_EVENTS } from "../src/access/audit/audit-entry.js";
import { DEFAULT_RATES } from "../src/access/rates/rates.js";
import { ERROR_CODES } from "../src/base/error-codes.js";
import { DEFAULT_LIMITS } from "../src/base/limits.js";

function page(name: string): string {
  return readFileSync(new URL(`../../docs/${name}`, import.meta.url), "utf8");
}

function firstCells(text: string): readonly string[] {
  return [...text.matchAll(/^\| `([^`]+)` \|/gm)].map((match) => match[1] ?? "");
}

const UNITS: Record<string, number> = { MiB: 2 ** 20, GiB: 2 ** 30 };

describe("docs/limits.md", () => {
  it("has every limit with its default", () => {
    const [text = ""] = page("limits.md").split("## Rates");
    const rows = [...text.matchAll(/^\| `(\w+)` \| ([0-9,]+) ?(MiB|GiB)?[^|]*\|/gm)];
    const documented = Object.fromEntries(
      rows.map(([, name = "", number = "", unit = ""]) => [
        name,
        Number(number.replaceAll(",", "")) * (UNITS[unit] ?? 1),
      ]),
    );
    expect(documented).toEqual({ ...DEFAULT_LIMITS });
  });
});

describe("docs/errors.md", () => {
  it("has every error code with its kind", () => {
    const text = page("errors.md");
    expect(firstCells(text).toSorted()).toEqual(Object.keys(ERROR_CODES).toSorted());
    for (const [code, { kind, retryable }] of Object.entries(ERROR_CODES)) {
      expect(text).toContain(`| \`${code}\` | ${kind} | ${retryable ? "yes" : "no"} |`);
    }
  });

  it("has no code that nothing speaks of but the tables", () => {
    const root = fileURLToPath(new URL("../../src", import.meta.url));
    const sources = readdirSync(root, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts") && !/\.test\.|error-codes\.ts|status\.ts/.test(name))
      .map((name) => readFileSync(join(root, name), "utf8"))
      .join("");
    expect(Object.keys(ERROR_CODES).filter((code) => !sources.includes(code))).toEqual([]);
  });
});

describe("docs/audit-log.md", () => {
  it("has every event", () => {
    const rows = page("audit-log.md").split("## What is written")[1]?.split("## Fields")[0] ?? "";
    const events = [...rows.matchAll(/^\| ([^|]+) \|/gm)].flatMap(([, cell = ""]) =>
      [...cell.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name),
    );
    expect(events.toSorted()).toEqual([...AUDIT_EVENTS].toSorted());
  });
});

describe("docs/limits.md", () => {
  it("has every rate with its default", () => {
    const rows = [
      ...page("limits.md").matchAll(/^\| (`\w+Per\w+`[^|]*) \| ([0-9,]+)( TiB)? \| ([0-9,]+) \|/gm),
    ];
    const documented = rows.flatMap(([, names = "", max = "", unit, seconds = ""]) =>
      [...names.matchAll(/`(\w+)`/g)].map(([, name = ""]) => [
        name,
        {
          max: Number(max.replaceAll(",", "")) * (unit === undefined ? 1 : 2 ** 40),
          seconds: Number(seconds.replaceAll(",", "")),
        },
      ]),
    );
    expect(Object.fromEntries(documented)).toEqual({ ...DEFAULT_RATES });
  });
});
