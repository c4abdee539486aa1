/**
 * The part of a forge's API that the gateway asks for, as the forge describes it: `descriptions/*.jsonl`, one operation or one
 * schema (JSON Schema, references to `#/$defs/NAME`) a line. `extract-descriptions.ts` makes those of GitHub, Gitea and Forgejo.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export type Schema = Readonly<Record<string, unknown>>;

export interface Operation {
  /** `GET /repos/{owner}/{repo}` */
  readonly operation: string;
  readonly query: Readonly<Record<string, Schema>>;
  /** undefined: it takes none. */
  readonly body?: Schema;
  /** By status; null: nothing in it. */
  readonly answers: Readonly<Record<string, Schema | null>>;
}

export interface ForgeDescription {
  readonly name: string;
  readonly operations: readonly Operation[];
  readonly schemas: Readonly<Record<string, Schema>>;
}

/** From the compiled file to the sources. */
const DIRECTORY = fileURLToPath(new URL("../../../../test/support/forges/descriptions/", import.meta.url));

export function descriptionFile(name: string): string {
  return join(DIRECTORY, `${name}.jsonl`);
}

const read = new Map<string, ForgeDescription>();

export function readDescription(name: "github" | "gitea" | "forgejo" | "gitlab"): ForgeDescription {
  const known = read.get(name);
  if (known !== undefined) return known;
  const operations: Operation[] = [];
  const schemas: Record<string, Schema> = {};
  for (const line of readFileSync(descriptionFile(name), "utf8").split("\n")) {
    if (line === "") continue;
    const each = JSON.parse(line) as Operation | { readonly name: string; readonly schema: Schema };
    if ("operation" in each) operations.push(each);
    else if ("schema" in each) schemas[each.name] = each.schema;
  }
  const description = { name, operations, schemas };
  read.set(name, description);
  return description;
}
