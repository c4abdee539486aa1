import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { checkPassable } from "./check-passable.js";

let top: string;
const OTHER = { uid: 65_534, gid: 65_534 };

beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), "gitwharf-"));
  chmodSync(top, 0o755);
});
afterEach(() => rmSync(top, { recursive: true, force: true }));

it("names the directory that keeps another user out, whatever the last one is like", async () => {
  const closed = join(top, "closed");
  const directory = join(closed, "open", "deploy");
  await expect(checkPassable(directory, OTHER)).resolves.toBeUndefined();
  mkdirSync(join(closed, "open"), { recursive: true });
  chmodSync(closed, 0o711);
  await expect(checkPassable(directory, OTHER)).resolves.toBeUndefined();
  chmodSync(closed, 0o700);
  await expect(checkPassable(directory, OTHER)).rejects.toThrow(
    `${closed} does not let through to ${directory}`,
  );
  const own = { uid: process.getuid?.() ?? 0, gid: 65_534 };
  await expect(checkPassable(directory, own)).resolves.toBeUndefined();
  chmodSync(closed, 0o711);
  mkdirSync(directory);
  chmodSync(directory, 0o700);
  await expect(checkPassable(directory, OTHER)).resolves.toBeUndefined();
});
