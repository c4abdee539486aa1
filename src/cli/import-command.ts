/** `gitwharf import FROM NAME`: takes a repository on disk, in a bundle or on another server in. */
import { readFile } from "node:fs/promises";
import { Command } from "commander";
import type { Limits } from "../base/limits.js";
import { GitwharfError } from "../base/errors.js";
import type { RemoteCredentials } from "../client/http-transport.js";
import { isUrl, parseRemoteUrl } from "../client/remote-url.js";
import type { ImportOptions, ImportSummary } from "../server/import-repository.js";
import { withAnyStorage } from "./any-storage.js";
import { auditedChange, type AuditFlags } from "./audited-change.js";
import { readStandardInput } from "./failure.js";
import {
  type ObjectStorageFlags,
  stopSignal,
  withChangingStorageOptions,
  withObjectStorage,
} from "./object-storage.js";
import { parseLimit } from "./parse-limit.js";
import { printDone } from "./print-list.js";
import { createRemoteLines } from "./remote-lines.js";
import { parseLargeBlobs } from "./serve-storage.js";

interface ImportFlags extends ObjectStorageFlags, AuditFlags {
  readonly collisionDetection: boolean;
  readonly allRefs?: true;
  readonly user?: string;
  readonly tokenFile?: string;
  readonly ca?: string;
  readonly limit?: Record<string, number>;
}

const TOKEN_BYTES_MAX = 64 * 1024;

export function importCommand(): Command {
  return withChangingStorageOptions(new Command("import"), { alsoDisk: true })
    .description("Take a repository on disk, in a bundle or on another server into the store.")
    .argument(
      "<from>",
      "a directory with a repository, a file that `git bundle create` has made, or a URL (https or http)",
    )
    .argument("<name>", "what it is to be called")
    .option(
      "--large-blobs <bytes>",
      'keep blobs from this size on as chunks, as for serve, or "off"  [default: 1048576]',
      parseLargeBlobs,
    )
    .option("--no-collision-detection", "do not look for SHA-1 collision attacks (faster)")
    .option("--all-refs", "of a URL: all refs, not branches, tags and notes alone")
    .option("--user <name>", "of a URL: who signs in; with --token-file")
    .option("--token-file <file>", "of a URL: a file with a password or token; - reads standard input")
    .option("--ca <file>", "of a URL: certificates (PEM) of authorities to be trusted besides Node's")
    .option("--limit <name=value>", "of a URL: change a limit of docs/client.md; may be repeated", parseLimit)
    .action(async (from: string, name: string, flags: ImportFlags) => {
      const shown = isUrl(from) ? parseRemoteUrl(from).base : from;
      const remote = await remoteOptionsOf(from, flags);
      const write = process.stderr.isTTY ? (text: string) => void process.stderr.write(text) : undefined;
      const lines = write === undefined ? undefined : createRemoteLines(write);
      const options: ImportOptions = {
        collisionDetection: flags.collisionDetection,
        allRefs: flags.allRefs,
        limits: flags.limit as Partial<Limits> | undefined,
        remote,
        onProgress: write,
        onRemoteText: lines === undefined ? undefined : (text) => lines.add(text),
        signal: stopSignal(),
      };
      const summary = await auditedChange(flags, {
        entry: { event: "repository-import", repository: name, details: { from: shown } },
        make: () => importInto(flags, from, name, options),
      }).finally(() => lines?.end());
      for (const omitted of summary.omitted) process.stderr.write(`not taken over: ${omitted}\n`);
      const { repository, refs, objects } = summary;
      printDone(flags, summary, `imported ${repository}: ${refs} refs, ${objects} objects`);
    });
}

async function importInto(
  flags: ImportFlags,
  from: string,
  name: string,
  options: ImportOptions,
): Promise<ImportSummary> {
  if (flags.storage !== "disk")
    return withObjectStorage(flags, (store) => store.importFrom(from, name, options), { makes: true });
  const { importRepository } = await import("../server/import-repository.js");
  return withAnyStorage(flags, (store) => importRepository(store, from, name, options));
}

/** @throws server/bad-configuration */
async function remoteOptionsOf(from: string, flags: ImportFlags): Promise<ImportOptions["remote"]> {
  const { user, tokenFile, ca, allRefs, limit } = flags;
  const given = { user, tokenFile, ca, allRefs, limit };
  if (!isUrl(from)) {
    if (Object.values(given).some((value) => value !== undefined))
      throw new GitwharfError(
        "server/bad-configuration",
        "--all-refs, --user, --token-file, --ca and --limit go with a URL",
      );
    return undefined;
  }
  if (user !== undefined && tokenFile === undefined)
    throw new GitwharfError("server/bad-configuration", "--user goes with --token-file");
  const credentials = tokenFile === undefined ? undefined : await credentialsIn(tokenFile, user);
  return { credentials, ca: ca === undefined ? undefined : await readText(ca) };
}

async function credentialsIn(file: string, user: string | undefined): Promise<RemoteCredentials> {
  const text = file === "-" ? await readStandardInput(TOKEN_BYTES_MAX) : await readText(file);
  const secret = text.replace(/\r?\n$/, "");
  if (secret === "" || /[\r\n]/.test(secret))
    throw new GitwharfError("server/bad-configuration", "--token-file is to hold one line");
  // Servers that know tokens take them for passwords, of whatever user.
  return { username: user ?? "git", password: secret };
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    throw new GitwharfError("server/bad-configuration", `${file} cannot be read`, { cause });
  }
}
