/** Whatever is done to a log is seen, with the number of the line; what cannot be seen is seen against a remembered head. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createAuditFile } from "./audit-file.js";
import { hashLine, linkLine } from "./audit-line.js";
import { verifyAudit, type VerifyAuditOptions } from "./verify-audit.js";

let directory: string;
let good: readonly string[];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "gitwharf-verify-"));
  const path = join(directory, "good");
  const writer = createAuditFile({ path, durability: "none" });
  for (let i = 1; i <= 10; i++) await writer.append([{ event: "request", user: `user-${i}` }]);
  await writer.close();
  good = readFileSync(path, "utf8").split("\n").slice(0, -1);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function verify(
  lines: readonly string[],
  options: Partial<VerifyAuditOptions> = {},
): Promise<readonly string[]> {
  return verifyText(lines.map((line) => `${line}\n`).join(""), options);
}

async function verifyText(
  text: string,
  options: Partial<VerifyAuditOptions> = {},
): Promise<readonly string[]> {
  const path = join(directory, "changed");
  writeFileSync(path, text);
  const findings: string[] = [];
  const { errors } = await verifyAudit([path], {
    onFinding: ({ line, message, isError }) =>
      void findings.push(`${line} ${isError ? "error" : "note"} ${message}`),
    ...options,
  });
  expect(errors).toBe(findings.filter((text) => text.includes(" error ")).length);
  return findings;
}

const without = (at: number): readonly string[] => good.filter((_, i) => i !== at - 1);
const withLine = (at: number, line: string): readonly string[] =>
  good.map((each, i) => (i === at - 1 ? line : each));
const line = (at: number): string => good[at - 1] ?? "";

describe("verifying an audit log", () => {
  it("finds nothing wrong with one that is as it was written", async () => {
    expect(await verify(good)).toEqual([]);
    expect(await verify([])).toEqual([]);
  });

  it("finds a changed line, wherever it is but at the end", async () => {
    for (let at = 1; at < 10; at++) {
      const [first, ...others] = await verify(withLine(at, line(at).replace("user-", "usor-")));
      expect(first).toBe(`${at + 1} error does not follow the line before it: one of the two was changed`);
      expect(others).toEqual([]);
    }
  });

  it("finds a change of a single byte anywhere in a line", async () => {
    const text = line(5);
    for (let at = 0; at < text.length; at++) {
      const other = text[at] === "x" ? "y" : "x";
      expect(
        (await verify(withLine(5, text.slice(0, at) + other + text.slice(at + 1)))).length,
      ).toBeGreaterThan(0);
    }
  });

  it("finds a removed line, the first one as well", async () => {
    expect(await verify(without(1))).toEqual([
      "1 error the log begins with sequence 2: give the files before it as well, or its --after",
    ]);
    for (let at = 2; at < 10; at++)
      expect(await verify(without(at))).toEqual([
        `${at} error sequence ${at + 1} follows ${at - 1}: lines were removed or moved`,
      ]);
  });

  it("finds an inserted line, also one that is linked to the one before it", async () => {
    const forged = linkLine(
      { sequence: 4, hash: hashLine(line(4)) },
      0,
      '"event":"request"}',
    ).line.toString();
    const inserted = [...good.slice(0, 4), forged, ...good.slice(4)];
    expect((await verify(inserted))[0]).toBe(
      "6 error sequence 5 follows 5: a line was inserted, repeated or moved",
    );
    const repeated = [...good.slice(0, 4), line(4), ...good.slice(4)];
    expect((await verify(repeated))[0]).toBe(
      "5 error sequence 4 follows 4: a line was inserted, repeated or moved",
    );
  });

  it("finds lines that changed places", async () => {
    const moved = [...good.slice(0, 3), line(5), line(4), ...good.slice(5)];
    expect(await verify(moved)).toEqual([
      "4 error sequence 5 follows 3: lines were removed or moved",
      "5 error sequence 4 follows 5: a line was inserted, repeated or moved",
      "6 error sequence 6 follows 4: lines were removed or moved",
    ]);
  });

  it("finds a torn tail, and lines that are none", async () => {
    expect((await verifyText(good.join("\n").slice(0, -5)))[0]).toMatch(
      /^10 error the last line is torn: \d+ bytes/,
    );
    expect((await verifyText(good.join("\n")))[0]).toMatch(/^10 error the last line lacks its line break/);
    for (const bad of ["", "nonsense", "[]", "null", "{}", '{"sequence":4}', "\u0000".repeat(100)])
      expect((await verify(withLine(4, bad)))[0]).toMatch(/^4 error is no line of an audit log/);
    expect((await verify(withLine(4, "x".repeat(300_000))))[0]).toMatch(/^4 error is no line/);
  });

  it("finds what nothing in the log shows against a remembered head", async () => {
    const head = hashLine(line(10));
    expect(await verify(good, { head })).toEqual([]);
    expect(await verify(good, { head: hashLine(line(7)) })).toEqual([
      "10 note 3 lines since the remembered head",
    ]);
    expect(await verify(good.slice(0, 8))).toEqual([]);
    expect((await verify(good.slice(0, 8), { head }))[0]).toMatch(/^8 error no line has the remembered head/);
    expect((await verify(withLine(10, line(10).replace("user-", "usor-")), { head }))[0]).toMatch(
      /no line has/,
    );
    expect((await verify([], { head }))[0]).toMatch(/no line has/);
  });

  it("begins behind the file before when it is told that one's head", async () => {
    expect(await verify(good.slice(4), { after: hashLine(line(4)) })).toEqual([]);
    expect((await verify(good.slice(5), { after: hashLine(line(4)) }))[0]).toMatch(
      /^1 error does not follow/,
    );
  });

  it("believes no recovery line that somebody wrote by hand", async () => {
    const recovery = JSON.stringify({
      event: "recovery",
      recovery: { tornLines: 1, tornBytes: 8, tornHash: "0".repeat(64) },
    });
    const forged = linkLine(
      { sequence: 3, hash: hashLine("nonsense") },
      0,
      recovery.slice(1),
    ).line.toString();
    expect((await verify([...good.slice(0, 3), "nonsense", forged]))[0]).toMatch(/^4 error is no line/);
    const odd = linkLine(
      { sequence: 10, hash: hashLine(line(10)) },
      0,
      '"event":"recovery","recovery":null}',
    ).line;
    expect(await verify([...good, odd.toString()])).toEqual([]);
  });
});
