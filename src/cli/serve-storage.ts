/** `gitwharf serve --storage`: where the repositories are kept, when it is not a directory of plain repositories. */
import { join, resolve } from "node:path";
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
}

/** What a configuration file says of it: the name, or options of `openObjectStorage`, those of S3 among them. */
export type StorageConfiguration = StorageName | Partial<ObjectStorageOptions>;

export interface ServedStorage {
  readonly options: Pick<GitServerOptions, "repositories" | "database" | "panicFile" | "sshServer">;
  /** For the first lines that the server prints. */
  readonly where: string;
  close(): Promise<void>;
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
  const given = typeof fromFile === "object" ? fromFile : {};
  const named = flags.storage ?? (typeof fromFile === "string" ? fromFile : undefined);
  const kind = named ?? (fromFile === undefined ? "disk" : "s3");
  if (kind === "disk") {
    if (flags.bucket !== undefined || flags.s3Endpoint !== undefined)
      throw wrong("--bucket and --s3-endpoint go with --storage s3, or --storage object-store");
    return undefined;
  }
  if (typeof directory !== "string")
    throw wrong("--storage and a repository store of your own exclude each other");
  const { openObjectStorage, parseBucketLocation } = await import("../server/object-storage.js");
  const location = flags.bucket === undefined ? undefined : parseBucketLocation(flags.bucket);
  const endpoint = flags.s3Endpoint === undefined ? {} : { endpoint: flags.s3Endpoint };
  let bucket: ObjectStorageOptions["bucket"];
  if (location !== undefined && "directory" in location) bucket = { directory: resolve(location.directory) };
  else if (location !== undefined) bucket = { ...given.bucket, ...location, ...endpoint };
  else if (given.bucket !== undefined) bucket = { ...given.bucket, ...endpoint };
  else bucket = { directory: join(directory, "bucket") };
  if (kind === "s3" && "directory" in bucket)
    throw wrong("--storage s3 needs --bucket s3://NAME, or s3://NAME/PREFIX");
  const database = given.database ?? server.database ?? defaultDatabase(directory);
  if (typeof database !== "string") throw wrong("the database is sqlite:PATH or postgres://USER@HOST/NAME");
  const store = await openObjectStorage({
    ...given,
    bucket,
    database,
    ...(server.durability === undefined ? {} : { durability: server.durability }),
  });
  const place =
    "directory" in bucket
      ? bucket.directory
      : `s3://${[bucket.bucket, bucket.prefix].filter(Boolean).join("/")}`;
  return {
    options: {
      repositories: store,
      database: server.database ?? database,
      panicFile: server.panicFile ?? join(directory, ".gitwharf", "panic.json"),
      sshServer: {
        ...server.sshServer,
        hostKeyDirectory: server.sshServer?.hostKeyDirectory ?? join(directory, ".gitwharf", "ssh"),
      },
    },
    where: `repositories in the bucket ${place}`,
    close: () => store.close(),
  };
}

function wrong(why: string): GitwharfError {
  return new GitwharfError("server/bad-configuration", why);
}
