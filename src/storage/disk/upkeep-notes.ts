/**
 * When which task was last done for a repository, in a small file beside its config. It says when the next is worth it; without it
 * everything is taken for never done. Written whole and renamed; of two who write at once the later counts.
 *
 *     gitwharf-maintenance: {"runs":{TASK:{"atMs":…,"outcome":"…"}},"swept":[PACK…],"expiresMs":…}
 */
import { randomBytes } from "node:crypto";
import { rename, unlink, writeFile } from "node:fs/promises";
import type { UpkeepRun } from "../contracts/upkeep.js";
import { readSmallFile } from "./cached-file.js";

export interface UpkeepNotes {
  readonly runs: ReadonlyMap<string, UpkeepRun>;
  /** Packs that the last sweep left: what is in them was looked at. */
  readonly swept: ReadonlySet<string>;
  /** When unreachable objects will first have waited long enough; undefined: there are none. */
  readonly expiresMs: number | undefined;
}

const NAME = "gitwharf-maintenance";
const BYTES_MAX = 1024 * 1024;
const NOTHING: UpkeepNotes = { runs: new Map(), swept: new Set(), expiresMs: undefined };

/** Never throws: what cannot be read was never written. */
export async function readUpkeepNotes(commonDirectory: string): Promise<UpkeepNotes> {
  try {
    const bytes = await readSmallFile(`${commonDirectory}/${NAME}`, BYTES_MAX);
    return bytes === undefined ? NOTHING : parseNotes(JSON.parse(bytes.toString("utf8")));
  } catch {
    return NOTHING;
  }
}

/** Never throws: what was not noted is done once more. */
export async function changeUpkeepNotes(
  commonDirectory: string,
  change: (notes: UpkeepNotes) => UpkeepNotes,
): Promise<void> {
  const path = `${commonDirectory}/${NAME}`;
  const temporary = `${path}.${randomBytes(6).toString("hex")}`;
  try {
    const { runs, swept, expiresMs } = change(await readUpkeepNotes(commonDirectory));
    const text = JSON.stringify({ runs: Object.fromEntries(runs), swept: [...swept], expiresMs });
    await writeFile(temporary, `${text}\n`, { flag: "wx" });
    await rename(temporary, path);
  } catch {
    await unlink(temporary).catch(() => undefined);
  }
}

function parseNotes(value: unknown): UpkeepNotes {
  const { runs, swept, expiresMs } = fieldsOf(value);
  const known = new Map<string, UpkeepRun>();
  for (const [task, run] of Object.entries(fieldsOf(runs))) {
    const { atMs, outcome } = fieldsOf(run);
    if (typeof atMs === "number" && typeof outcome === "string") known.set(task, { atMs, outcome });
  }
  return {
    runs: known,
    swept: new Set(Array.isArray(swept) ? swept.filter((name) => typeof name === "string") : []),
    expiresMs: typeof expiresMs === "number" ? expiresMs : undefined,
  };
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}
