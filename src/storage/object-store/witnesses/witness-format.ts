/**
 * A witness: an object of the bucket that tells what a repository was at one change of it, so that rows can be made again without
 * a database. A whole one tells all that is kept; the others what is new since the one before, which they name.
 *
 *     OFFSET  SIZE  MEANING
 *     0       4     `gww1`
 *     4       …     records, each: 1, its type; 4, length of its body, big-endian; the body
 *                   1  the repository, JSON: the first record, once
 *                   2  a generation, JSON; ascending
 *                   3  a node that one of the generations needs: its bytes, whose SHA-256 is its name
 *                   0  the end, the last record: the SHA-256 of all bytes before it
 *
 * Example: `67 77 77 31 | 01 00 00 01 0c {"repository":{"id":…} | 02 00 00 00 c5 {"generation":4,…} | 03 … | 00 00 00 00 20 <32 bytes>`.
 *
 * Its key, `r/REPOSITORY/NUMBER-w-RANDOM` (w: whole, p: part), has the count of changes in 16 digits: the last key by name is the newest.
 */
import { createHash, randomBytes } from "node:crypto";
import {
  GENERATION_KINDS,
  type GenerationRecord,
  type RepositoryRecord,
} from "../metadata/metadata-store.js";
import { corrupt } from "../tree/canonical-bytes.js";
import { isNodeId, NODE_BYTES_MAX } from "../tree/node.js";

export const WITNESS_PREFIX = "r/";

export interface WitnessHeader {
  readonly repository: RepositoryRecord;
  /** Count of its changes. */
  readonly number: number;
  /** Key of the one that it goes on from; undefined: it is whole. */
  readonly previous?: string | undefined;
  /** By the database's clock. */
  readonly timeMs: number;
  /** What came before this generation was forgotten when it was written. */
  readonly oldestGeneration: number;
}

export type WitnessedGeneration = Omit<GenerationRecord, "repositoryId">;

export type WitnessPart =
  | { readonly type: "repository"; readonly header: WitnessHeader }
  | { readonly type: "generation"; readonly generation: WitnessedGeneration }
  | { readonly type: "node"; readonly bytes: Buffer };

export interface WitnessKey {
  readonly repositoryId: string;
  readonly number: number;
  readonly isWhole: boolean;
}

const TYPE = Buffer.from("gww1");
const RECORD_HEAD_BYTES = 5;
const [END, REPOSITORY, GENERATION, NODE] = [0, 1, 2, 3] as const;
const RECORD_BYTES_MAX = 1024 * 1024;
const NUMBER_DIGITS = 16;
const KEY = /^r\/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\/([0-9]{16})-([wp])-[0-9a-f]{8}$/;

export function newWitnessKey({ repositoryId, number, isWhole }: WitnessKey): string {
  const digits = number.toString().padStart(NUMBER_DIGITS, "0");
  return `${WITNESS_PREFIX}${repositoryId}/${digits}-${isWhole ? "w" : "p"}-${randomBytes(4).toString("hex")}`;
}

/** undefined: it is none. */
export function parseWitnessKey(key: string): WitnessKey | undefined {
  const [, repositoryId, digits, kind] = KEY.exec(key) ?? [];
  if (repositoryId === undefined || digits === undefined) return undefined;
  return { repositoryId, number: Number(digits), isWhole: kind === "w" };
}

/** The bytes, piece by piece. */
export async function* formatWitness(parts: AsyncIterable<WitnessPart>): AsyncGenerator<Buffer> {
  const hash = createHash("sha256");
  const told = (bytes: Buffer): Buffer => {
    hash.update(bytes);
    return bytes;
  };
  yield told(TYPE);
  for await (const part of parts) {
    const [type, body] = bodyOf(part);
    yield told(recordHead(type, body.length));
    yield told(body);
  }
  const digest = hash.digest();
  yield recordHead(END, digest.length);
  yield digest;
}

function bodyOf(part: WitnessPart): readonly [number, Buffer] {
  if (part.type === "node") return [NODE, part.bytes];
  if (part.type === "generation") return [GENERATION, Buffer.from(JSON.stringify(part.generation))];
  return [REPOSITORY, Buffer.from(JSON.stringify(part.header))];
}

function recordHead(type: number, length: number): Buffer {
  const head = Buffer.alloc(RECORD_HEAD_BYTES);
  head.writeUInt8(type);
  head.writeUInt32BE(length, 1);
  return head;
}

/**
 * In bounded memory. What it yields is certain only once it has come to its end without an error: the hash of all stands there.
 * @throws storage/corrupt, and what reading throws
 */
export async function* parseWitness(key: string, bytes: AsyncIterable<Buffer>): AsyncGenerator<WitnessPart> {
  const what = `the witness ${key}`;
  const reader = new PieceReader(bytes, what);
  const hash = createHash("sha256");
  const start = await reader.take(TYPE.length);
  if (!start.equals(TYPE)) throw corrupt(what, "it begins with something else");
  hash.update(start);
  for (let isFirst = true; ; isFirst = false) {
    const head = await reader.take(RECORD_HEAD_BYTES);
    const type = head.readUInt8();
    const length = head.readUInt32BE(1);
    if (length > (type === NODE ? NODE_BYTES_MAX : RECORD_BYTES_MAX))
      throw corrupt(what, "a record is too long");
    const body = await reader.take(length);
    if (type === END) {
      if (!hash.digest().equals(body)) throw corrupt(what, "its bytes do not hash to what it says");
      await reader.end();
      return;
    }
    hash.update(head).update(body);
    if (isFirst !== (type === REPOSITORY)) throw corrupt(what, "its first record is not the repository");
    if (type === NODE) yield { type: "node", bytes: body };
    else if (type === GENERATION) yield { type: "generation", generation: parseGeneration(what, body) };
    else if (type === REPOSITORY) yield { type: "repository", header: parseHeader(what, body) };
    else throw corrupt(what, `it has a record of type ${type}`);
  }
}

/** Cuts what comes in pieces of any size. */
class PieceReader {
  readonly #pieces: AsyncIterator<Buffer>;
  readonly #what: string;
  #rest: Buffer = Buffer.alloc(0);

  constructor(pieces: AsyncIterable<Buffer>, what: string) {
    this.#pieces = pieces[Symbol.asyncIterator]();
    this.#what = what;
  }

  async take(length: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    let missing = length;
    while (missing > 0) {
      if (this.#rest.length === 0) {
        const next = await this.#pieces.next();
        if (next.done === true) throw corrupt(this.#what, "it ends too early");
        this.#rest = next.value;
        continue;
      }
      const part = this.#rest.subarray(0, missing);
      this.#rest = this.#rest.subarray(part.length);
      missing -= part.length;
      parts.push(part);
    }
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  }

  async end(): Promise<void> {
    const next = await this.#pieces.next();
    if (this.#rest.length > 0 || next.done !== true) throw corrupt(this.#what, "something follows its end");
  }
}

function parseJson(what: string, body: Buffer): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body.toString());
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  } catch {
    // Told below.
  }
  throw corrupt(what, "a record of it is no JSON object");
}

function parseHeader(what: string, body: Buffer): WitnessHeader {
  const header = parseJson(what, body);
  const repository = (header["repository"] ?? {}) as Record<string, unknown>;
  const ok =
    areTexts(repository, "id", "networkId") &&
    areCounts(repository, "generation", "pruneEpoch", "createdAtMs") &&
    areCounts(header, "number", "timeMs", "oldestGeneration") &&
    isNodeIdOf(repository) &&
    (repository["objectFormat"] === "sha1" || repository["objectFormat"] === "sha256") &&
    (repository["state"] === "deleted"
      ? areTexts(repository, "formerName") && areCounts(repository, "deletedAtMs")
      : repository["state"] === "live" && areTexts(repository, "name")) &&
    (header["previous"] === undefined || areTexts(header, "previous"));
  if (!ok) throw corrupt(what, "what it says of the repository is not whole");
  return header as unknown as WitnessHeader;
}

function parseGeneration(what: string, body: Buffer): WitnessedGeneration {
  const generation = parseJson(what, body);
  const { about, kind } = generation;
  const ok =
    areCounts(generation, "generation", "timeMs") &&
    areTexts(generation, "commitId") &&
    isNodeIdOf(generation) &&
    GENERATION_KINDS.some((known) => known === kind) &&
    (about === undefined || typeof about === "string");
  if (!ok) throw corrupt(what, "what it says of a generation is not whole");
  return generation as unknown as WitnessedGeneration;
}

function areTexts(record: Record<string, unknown>, ...names: readonly string[]): boolean {
  return names.every((name) => typeof record[name] === "string" && record[name] !== "");
}

function areCounts(record: Record<string, unknown>, ...names: readonly string[]): boolean {
  return names.every((name) => Number.isSafeInteger(record[name]) && (record[name] as number) >= 0);
}

function isNodeIdOf({ root }: Record<string, unknown>): boolean {
  return typeof root === "string" && isNodeId(root);
}
