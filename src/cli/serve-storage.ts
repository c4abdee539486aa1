/** `gitwharf serve --storage`: where the repositories are kept, when it is not a directory of plain repositories. */
import { join, resolve } from "node:path";
import { InvalidArgumentError } from "commander";
import { GitwharfError } from "../base/errors.js";
import type { GitServerOptions } from "../server/git-server-options.js";
import type { ObjectStorageOptions } from "../server/object-storage.js";
import { defaultDatabase } from "./access-database.js";

export const STORAGES = ["disk", "object-store", "s3"] as const;
export type StorageName = (typeof STORAGES)[number];

export interface StorageFlags {
  readonly storage?: StorageName;
  readonly bucket?: string;
  readonly s3Endpoint?: string;
  /** false: none are written. */
  readonly witnesses?: boolean;
  /** Milliseconds since 1970. */
  readonly asOf?: number;
  /** Bytes; Infinity: none are kept as chunks. */
  readonly largeBlobs?: number;
  readonly cacheBytes?: number;
}

/** What a configuration file says of it: the name, or options of `openObjectStorage`, those of S3 among them. */
export type StorageConfiguration = StorageName | Partial<ObjectStorageOptions>;

export interface ServedStorage {
  readonly options: Pick<
    GitServerOptions,
    "repositories" | "database" | "panicFile" | "sshServer" | "autoCreate"
  >;
  /** For the first lines that the server prints. */
  readonly where: string;
  close(): Promise<void>;
}

export interface LocatedStorage {
  readonly options: ObjectStorageOptions;
  readonly database: string;
  /** Of the bucket, for people. */
  readonly place: string;
}

/**
 * @param around what is said elsewhere; the directory holds the embedded bucket and database
 * @returns undefined: plain repositories
 * @throws server/bad-configuration
 */
export async function locateStorage(
  flags: StorageFlags,
  fromFile: StorageConfiguration | undefined,
  around: { readonly directory: unknown } & Pick<GitServerOptions, "database" | "durability">,
): Promise<LocatedStorage | undefined> {
  const { directory, durability } = around;
  const given = typeof fromFile === "object" ? fromFile : {};
  const named = flags.storage ?? (typeof fromFile === "string" ? fromFile : undefined);
  const kind = named ?? (fromFile === undefined ? "disk" : "s3");
  if (kind === "disk") {
    const { bucket: location, s3Endpoint, asOf, largeBlobs, cacheBytes } = flags;
    if ([location, s3Endpoint, asOf, largeBlobs, cacheBytes].some((flag) => flag !== undefined))
      throw wrong(
        "--bucket, --s3-endpoint, --large-blobs, --cache-bytes and --as-of go with --storage s3, or --storage object-store",
      );
    return undefined;
  }
  if (typeof directory !== "string")
    throw wrong("--storage and a repository store of your own exclude each other");
  const { parseBucketLocation } = await import("../server/object-storage.js");
  const location = flags.bucket === undefined ? undefined : parseBucketLocation(flags.bucket);
  const endpoint = flags.s3Endpoint === undefined ? {} : { endpoint: flags.s3Endpoint };
  let bucket: ObjectStorageOptions["bucket"];
  if (location !== undefined && "directory" in location) bucket = { directory: resolve(location.directory) };
  else if (location !== undefined) bucket = { ...given.bucket, ...location, ...endpoint };
  else if (given.bucket !== undefined) bucket = { ...given.bucket, ...endpoint };
  else bucket = { directory: join(directory, "bucket") };
  if (kind === "s3" && "directory" in bucket)
    throw wrong("--storage s3 needs --bucket s3://NAME, or s3://NAME/PREFIX");
  const database = given.database ?? around.database ?? defaultDatabase(directory);
  if (typeof database !== "string") throw wrong("the database is sqlite:PATH or postgres://USER@HOST/NAME");
  const place =
    "directory" in bucket
      ? bucket.directory
      : `s3://${[bucket.bucket, bucket.prefix].filter(Boolean).join("/")}`;
  return {
    options: {
      ...given,
      bucket,
      database,
      ...(durability === undefined ? {} : { durability }),
      ...(flags.largeBlobs === undefined ? {} : { largeBlobBytesMin: flags.largeBlobs }),
      ...(flags.cacheBytes === undefined ? {} : { cacheBytesMax: flags.cacheBytes }),
    },
    database,
    place,
  };
}

/**
 * @param server options as they are without it; its directory holds what else a server keeps, and the embedded bucket
 * @returns undefined: plain repositories
 * @throws server/bad-configuration, database/unavailable, storage/io
 */
export async function openServedStorage(
  flags: StorageFlags,
  fromFile: StorageConfiguration | undefined,
  server: GitServerOptions,
): Promise<ServedStorage | undefined> {
  const { repositories: directory } = server;
  const located = await locateStorage(flags, fromFile, { ...server, directory });
  if (located === undefined || typeof directory !== "string") return undefined;
  const { openObjectStorage } = await import("../server/object-storage.js");
  const store = await openObjectStorage({
    ...located.options,
    janitor: janitorOf(located.options.janitor, server.log),
    witnesses: flags.witnesses === false ? false : witnessesOf(located.options.witnesses, server.log),
  });
  const { asOf } = flags;
  return {
    options: {
      ...(asOf === undefined
        ? { repositories: store }
        : { repositories: store.asOf(asOf), autoCreate: "never" as const }),
      database: server.database ?? located.database,
      panicFile: server.panicFile ?? join(directory, ".gitwharf", "panic.json"),
      sshServer: {
        ...server.sshServer,
        hostKeyDirectory: server.sshServer?.hostKeyDirectory ?? join(directory, ".gitwharf", "ssh"),
      },
    },
    where: `repositories in the bucket ${located.place}${asOf === undefined ? "" : `, as of ${new Date(asOf).toISOString()} and to be read only,`}`,
    close: () => store.close(),
  };
}

/** Of an option. @throws InvalidArgumentError */
export function parseTime(text: string): number {
  const time = Date.parse(text);
  if (!/^\d{4}-\d\d-\d\d/.test(text) || Number.isNaN(time))
    throw new InvalidArgumentError("write it as 2026-11-22 or 2026-11-22T10:00:00Z");
  return time;
}

/** Of an option. @throws InvalidArgumentError */
export function parseBytes(text: string): number {
  if (!/^[0-9]{1,15}$/.test(text)) throw new InvalidArgumentError("it is a number of bytes");
  return Number(text);
}

/** The same, or "off": Infinity. @throws InvalidArgumentError */
export function parseLargeBlobs(text: string): number {
  return text === "off" ? Number.POSITIVE_INFINITY : parseBytes(text);
}

/** What it removes and what fails is logged. */
function janitorOf(
  given: ObjectStorageOptions["janitor"],
  log: GitServerOptions["log"],
): NonNullable<ObjectStorageOptions["janitor"]> {
  if (given === false || log === undefined) return given ?? {};
  return {
    onFailure: (what, error) =>
      log({ level: "error", message: `the object store's janitor: ${what}`, error }),
    onPass({ failures: _failures, next: _next, networksSeen: _seen, ...counts }) {
      const fields = Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
      if (Object.keys(fields).length > 0)
        log({ level: "info", message: "the object store's janitor has cleaned up", fields });
    },
    ...given,
  };
}

/** What fails is logged. */
function witnessesOf(
  given: ObjectStorageOptions["witnesses"],
  log: GitServerOptions["log"],
): NonNullable<ObjectStorageOptions["witnesses"]> {
  if (given === false || log === undefined) return given ?? {};
  return {
    onFailure: (what, error) => log({ level: "error", message: `the object store: ${what}`, error }),
    ...given,
  };
}

function wrong(why: string): GitwharfError {
  return new GitwharfError("server/bad-configuration", why);
}
