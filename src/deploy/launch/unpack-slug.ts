/**
 * A slug's files in a directory of their own: written beside it by the system's `tar`, then put in place, so that a
 * directory that is there is whole. tar takes away leading slashes and refuses `..`; links are looked at by who serves
 * files. Set-user-id bits stay behind. Times are those of the unpacking: a validator made of them is never an older
 * release's.
 */
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { GitwharfError } from "../../base/errors.js";

export type UnpackSlug = (slugPath: string, directory: string, signal?: AbortSignal) => Promise<void>;

const COMPLAINT_CHARACTERS_MAX = 500;

/** @throws storage/io, base/aborted */
export const unpackSlug: UnpackSlug = async (slugPath, directory, signal) => {
  const parent = dirname(directory);
  await mkdir(parent, { recursive: true });
  const fresh = await mkdtemp(join(parent, ".new-"));
  try {
    await untar(slugPath, fresh, signal);
    await rm(directory, { recursive: true, force: true });
    await rename(fresh, directory);
  } catch (error) {
    await rm(fresh, { recursive: true, force: true });
    throw error;
  }
};

function untar(slugPath: string, directory: string, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(
      "tar",
      [
        "--extract",
        "--touch",
        "--no-same-owner",
        "--no-same-permissions",
        "--file",
        slugPath,
        "--directory",
        directory,
      ],
      { stdio: ["ignore", "ignore", "pipe"], ...(signal === undefined ? {} : { signal }) },
    );
    let complaint = "";
    child.stderr.setEncoding("utf8");
    child.stderr.on("data", (text: string) => {
      if (complaint.length < COMPLAINT_CHARACTERS_MAX) complaint += text;
    });
    const fail = (why: string, cause?: unknown): void => {
      const code = signal?.aborted === true ? "base/aborted" : "storage/io";
      reject(new GitwharfError(code, `the slug ${slugPath} cannot be unpacked: ${why}`, { cause }));
    };
    child.once("error", (cause) => fail(cause.message, cause));
    child.once("close", (status) => {
      if (status === 0) resolve();
      else
        fail(complaint.slice(0, COMPLAINT_CHARACTERS_MAX).trim() || `tar ended with ${status ?? "a signal"}`);
    });
  });
}
