/** A binary of 50 MiB that nothing compresses, in versions, and the packs that bring them. */
import { createCipheriv } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { git, makePack } from "../data.js";

export interface LargeVersion {
  readonly before: string | undefined;
  readonly tip: string;
  /** Thin, as a client sends it. */
  readonly pack: Buffer;
}

export interface LargeBinary {
  /** Some bytes in its middle give way to some more. Upon the version before, or upon the first. */
  next(upon?: "last" | "first"): LargeVersion;
}

export const LARGE_BYTES = 50 * 1024 * 1024;

/** Which part of it each version changes. */
const PLACES = 16;
/** Git makes no deltas of what is larger than that. */
const WHOLE = ["-c", "core.bigFileThreshold=1m"];

/** @param how "whole": each version is sent as it is; "as deltas": as what it differs in from the one before */
export function makeLargeBinary(work: string, how: "as deltas" | "whole"): LargeBinary {
  const path = join(work, "large");
  mkdirSync(path);
  git(path, "init", "-q", "-b", "main");
  const settings = how === "whole" ? WHOLE : [];
  const key = Buffer.alloc(16, 7);
  const first = createCipheriv("aes-128-ctr", key, key).update(Buffer.alloc(LARGE_BYTES));
  let firstTip: string | undefined;
  let large = first;
  let tip: string | undefined;
  let versions = 0;
  return {
    next(upon = "last") {
      const before = upon === "first" ? firstTip : tip;
      if (versions > 0) {
        const from = upon === "first" ? first : large;
        const at = Math.floor((LARGE_BYTES * ((versions * 7) % PLACES)) / PLACES);
        large = Buffer.concat([
          from.subarray(0, at),
          Buffer.from(`version ${versions}`),
          from.subarray(at + 3),
        ]);
      }
      versions++;
      writeFileSync(join(path, "large"), large);
      if (before !== undefined) git(path, "reset", "-q", "--soft", before);
      git(path, ...settings, "add", "large");
      git(
        path,
        "-c",
        "user.name=bench",
        "-c",
        "user.email=bench@localhost",
        "commit",
        "-q",
        "-m",
        `${versions}`,
      );
      tip = git(path, "rev-parse", "main");
      firstTip ??= tip;
      return { before, tip, pack: makePack(path, tip, before, settings) };
    },
  };
}
