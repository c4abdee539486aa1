/**
 * Which witnesses of a repository a rebuild goes by: the newest that is whole together with those it builds on, each read to its end and
 * hashed. What is damaged or missing makes it go back to the newest one before.
 */
import { isGitwharfError } from "../../../base/errors.js";
import type { Bucket } from "../bucket/bucket.js";
import { parseWitness, type WitnessHeader, type WitnessPart } from "./witness-format.js";

export interface ListedWitness {
  readonly key: string;
  readonly number: number;
  readonly sizeBytes: number;
}

export interface WitnessChain {
  /** Of the newest. */
  readonly header: WitnessHeader;
  /** The whole one first. */
  readonly keys: readonly string[];
  /** The newest of all tells more, and cannot be read: why. */
  readonly lost?: string;
}

/** @returns a sentence when there is none. @throws storage/io, base/aborted */
export async function findChain(
  bucket: Bucket,
  listed: readonly ListedWitness[],
  signal: AbortSignal | undefined,
): Promise<WitnessChain | string> {
  const newestFirst = listed.toSorted((a, b) => b.number - a.number || (a.key < b.key ? -1 : 1));
  const known = new Set(listed.map(({ key }) => key));
  const read = new Map<string, WitnessHeader | string>();
  const headerOf = async (key: string): Promise<WitnessHeader | string> => {
    const before = read.get(key);
    if (before !== undefined) return before;
    const header = known.has(key)
      ? await readHeader(bucket, key, signal)
      : `the witness ${key} is not in the bucket`;
    read.set(key, header);
    return header;
  };
  let lost: string | undefined;
  for (const { key: newest, number } of newestFirst) {
    const keys: string[] = [];
    let first: WitnessHeader | undefined;
    let wrong: string | undefined;
    for (let key: string | undefined = newest; key !== undefined; ) {
      const header = await headerOf(key);
      if (typeof header === "string" || keys.includes(key)) {
        wrong = typeof header === "string" ? header : `the witness ${key} builds on itself`;
        break;
      }
      keys.unshift(key);
      first ??= header;
      key = header.previous;
    }
    if (wrong === undefined && first !== undefined)
      // Another of the same number tells the same.
      return lost === undefined || number === newestFirst[0]?.number
        ? { header: first, keys }
        : { header: first, keys, lost };
    lost ??= wrong;
  }
  return lost ?? "there is no witness of it";
}

async function readHeader(
  bucket: Bucket,
  key: string,
  signal: AbortSignal | undefined,
): Promise<WitnessHeader | string> {
  let header: WitnessHeader | undefined;
  try {
    for await (const part of readWitness(bucket, key, signal))
      if (part.type === "repository") ({ header } = part);
  } catch (error) {
    if (isGitwharfError(error, "storage/corrupt", "storage/not-found")) return error.message;
    throw error;
  }
  return header ?? `the witness ${key} is empty`;
}

export function readWitness(
  bucket: Bucket,
  key: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<WitnessPart> {
  return parseWitness(key, bucket.stream(key, undefined, { signal }));
}
