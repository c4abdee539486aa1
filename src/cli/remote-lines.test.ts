/** Lines of another server, however they are cut. */
import { expect, it } from "vitest";
import { createRemoteLines } from "./remote-lines.js";

function shown(...pieces: readonly string[]): string {
  let out = "";
  const lines = createRemoteLines((text) => (out += text));
  for (const piece of pieces) lines.add(piece);
  lines.end();
  return out;
}

it("puts remote: in front of each line, of those that are overwritten, too", () => {
  expect(shown("Counting: 1%\rCounting: 2%\rdone.\nTotal 3\n")).toBe(
    "remote: Counting: 1%\rremote: Counting: 2%\rremote: done.\nremote: Total 3\n",
  );
});

it("waits for the end of a line", () => {
  expect(shown("Enum", "erating", ": 3\nTot", "al")).toBe("remote: Enumerating: 3\nremote: Total\n");
  expect(shown("a\r", "\n", "\n", "b\n")).toBe("remote: a\rremote: b\n");
});

it("keeps no line without an end", () => {
  const long = "x".repeat(5000);
  let out = "";
  const lines = createRemoteLines((text) => (out += text));
  lines.add(long);
  expect(out).toBe(`remote: ${long}`);
});
