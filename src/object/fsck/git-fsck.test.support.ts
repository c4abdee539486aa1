/**
 * What the real `git fsck` says of many objects in one run, and what `checkObject` says of the same.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deflateSync } from "node:zlib";
import { hashObject, type ObjectId, type ObjectType } from "../object-id.js";
import { checkNamedBlob, checkObject, createFsckState } from "./object-fsck.js";
import type { FsckPolicy } from "./fsck-message.js";

export interface PlainObject {
  readonly type: ObjectType;
  readonly data: Buffer;
}

/** By id: `error badDate: …` and the like, sorted, each once. Absent: nothing was said. */
export type Verdicts = ReadonlyMap<ObjectId, readonly string[]>;

export interface GitVerdicts {
  readonly verdicts: Verdicts;
  /** Objects that git could not even parse; of those it says no more. */
  readonly unparsed: ReadonlySet<ObjectId>;
  /** `<oid> error badDate` and the like, as often as git said so. */
  readonly said: readonly string[];
}

export class FsckRepository {
  readonly directory = mkdtempSync(join(tmpdir(), "gitwharf-fsck-"));

  constructor() {
    this.#git(["init", "--quiet", "--bare", "."]);
  }

  add(objects: Iterable<PlainObject>): void {
    for (const { type, data } of objects) {
      const oid = hashObject("sha1", type, data);
      const folder = join(this.directory, "objects", oid.slice(0, 2));
      mkdirSync(folder, { recursive: true });
      const header = Buffer.from(`${type} ${data.length}\0`);
      writeFileSync(join(folder, oid.slice(2)), deflateSync(Buffer.concat([header, data]), { level: 1 }));
    }
  }

  fsck(...options: readonly string[]): GitVerdicts {
    const output = this.#git(["fsck", "--no-dangling", ...options]);
    const found = new Map<ObjectId, Set<string>>();
    const unparsed = new Set<ObjectId>();
    const all: string[] = [];
    for (const line of output.split("\n")) {
      // What git says of links has no id.
      const said = /^(warning|error) in \w+ ([0-9a-f]{40}): (\w+: .*)$/.exec(line);
      if (said !== null) {
        const [, word, oid = "", text = ""] = said;
        const severity = word === "error" ? "error" : "warn";
        note(found, oid, `${severity} ${text}`);
        all.push(`${oid} ${severity} ${text.slice(0, text.indexOf(":"))}`);
      }
      const lost = /^error: ([0-9a-f]{40}): object could not be parsed/.exec(line);
      if (lost !== null) unparsed.add(lost[1] ?? "");
    }
    return { verdicts: sorted(found), unparsed, said: all };
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** @returns what it printed on standard error */
  #git(args: readonly string[]): string {
    const { status, stderr, error } = spawnSync("git", args, {
      cwd: this.directory,
      encoding: "latin1",
      env: {
        PATH: process.env["PATH"],
        HOME: this.directory,
        LANG: "C",
        GIT_CONFIG_NOSYSTEM: "1",
        GIT_CONFIG_GLOBAL: "/dev/null",
      },
      maxBuffer: 64 * 1024 * 1024,
    });
    if (error !== undefined) throw error;
    if (status === null || status > 31)
      throw new Error(`git ${args.join(" ")} ended with ${status}: ${stderr}`);
    // Newer versions show control characters so.
    return Buffer.from(stderr, "latin1")
      .toString("utf8")
      .replaceAll(/[^\P{Cc}\n]/gu, "?");
  }
}

export function judge(objects: readonly PlainObject[], strict: boolean): Verdicts {
  const policy: FsckPolicy = { severities: new Map(), skipList: new Set(), strict };
  const state = createFsckState();
  const found = new Map<ObjectId, Set<string>>();
  const byId = new Map(objects.map((object) => [hashObject("sha1", object.type, object.data), object]));
  const check = (oid: ObjectId, { type, data }: PlainObject): void => {
    for (const { id, severity, message } of checkObject({
      type,
      data,
      oid,
      objectFormat: "sha1",
      policy,
      state,
    }))
      note(found, oid, `${severity} ${message.slice(message.indexOf(`${id}:`))}`);
  };
  for (const [oid, object] of byId) if (object.type !== "blob") check(oid, object);
  for (const oid of [...state.gitmodules, ...state.gitattributes]) {
    const object = byId.get(oid);
    for (const { id, severity, message } of checkNamedBlob({ oid, policy, state }, object?.type))
      note(found, oid, `${severity} ${message.slice(message.indexOf(`${id}:`))}`);
    if (object?.type === "blob") check(oid, object);
  }
  return sorted(found);
}

function note(found: Map<ObjectId, Set<string>>, oid: ObjectId, text: string): void {
  const texts = found.get(oid) ?? new Set();
  found.set(oid, texts.add(text));
}

function sorted(found: ReadonlyMap<ObjectId, ReadonlySet<string>>): Verdicts {
  return new Map([...found].map(([oid, texts]) => [oid, [...texts].toSorted()]));
}
