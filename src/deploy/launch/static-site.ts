/**
 * A directory of files over HTTP: types, validators, ranges and conditions by `send`; here is which file is meant, and that
 * it is one of the site's. GET and HEAD only. `/about` is also `about.html`, `404.html` is what is told of the rest, names
 * that begin with a dot are nobody's business (`.well-known` excepted), and no link leads out.
 */
import { realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import send from "send";
import { GitwharfError } from "../../base/errors.js";
import { answerInPlainText } from "./proxy/plain-answer.js";
import { pathOf } from "./proxy/request-target.js";
import type { AppRequest, AppResponse } from "./proxy/exchange.js";

export interface StaticSite {
  /** Answers, whatever is asked for. */
  serve(request: AppRequest, response: AppResponse): Promise<void>;
}

export interface StaticSiteOptions {
  readonly directory: string;
  /** The site may be a part of this directory, and nothing outside of it. */
  readonly within: string;
  /** Another one makes other validators: two releases may have files of the same time and size. */
  readonly version: string;
}

/** @throws deploy/launch-failed: there is no such directory in the release */
export async function openStaticSite(options: StaticSiteOptions): Promise<StaticSite> {
  const root = await rootOf(options);
  const tag = Buffer.from(options.version).toString("base64url");
  return {
    async serve(request, response) {
      const { method = "GET" } = request;
      if (method !== "GET" && method !== "HEAD") {
        response.setHeader("Allow", "GET, HEAD");
        answerInPlainText(request, response, 405, "this site answers GET and HEAD only");
        return;
      }
      const url = pathOf(request);
      const path = plainPath(url);
      const found = path === undefined ? undefined : await findFile(root, path);
      if (found === "directory") {
        response.statusCode = 301;
        response.setHeader("Location", `${collapsed(path ?? "")}/${queryOf(url)}`);
        response.end();
        return;
      }
      if (found !== undefined) return sendFile({ root, file: found.file, tag }, request, response);
      const missing = await fileAt(root, "/404.html");
      if (missing === undefined) {
        answerInPlainText(request, response, 404, "there is nothing at this address");
        return;
      }
      response.statusCode = 404;
      await sendFile({ root, file: missing, tag, isWhole: true }, request, response);
    },
  };
}

async function rootOf({ directory, within }: StaticSiteOptions): Promise<string> {
  try {
    const [root, whole] = await Promise.all([realpath(directory), realpath(within)]);
    if (root === whole || root.startsWith(whole + sep)) return root;
  } catch {
    // It is not there: the same to whoever launches.
  }
  throw new GitwharfError(
    "deploy/launch-failed",
    "the release has no such directory as its static site names; look at `static` in the Procfile",
  );
}

/** Percent-encoded as it came. undefined: no file can be meant. */
function plainPath(url: string): string | undefined {
  const path = url.split(/[?#]/, 1)[0] ?? "";
  if (!path.startsWith("/")) return undefined;
  let plain: string;
  try {
    plain = decodeURIComponent(path);
  } catch {
    return undefined;
  }
  if (plain.includes("\0") || plain.includes("\\")) return undefined;
  const parts = plain.split("/").slice(1);
  const isHidden = (part: string, i: number): boolean =>
    part.startsWith(".") && !(i === 0 && part === ".well-known");
  return parts.some(isHidden) ? undefined : path;
}

/**
 * The file that answers, from the root, beginning with a slash; "directory": it has an `index.html` and was asked for
 * without its slash. undefined: there is none.
 */
async function findFile(
  root: string,
  path: string,
): Promise<{ readonly file: string } | "directory" | undefined> {
  const plain = decodeURIComponent(path);
  const candidates = plain.endsWith("/") ? [`${plain}index.html`] : [plain, `${plain}.html`];
  for (const candidate of candidates) {
    const file = await fileAt(root, candidate);
    if (file !== undefined) return { file };
  }
  if (plain.endsWith("/")) return undefined;
  return (await fileAt(root, `${plain}/index.html`)) === undefined ? undefined : "directory";
}

/** Where the file truly stands, from the root. */
async function fileAt(root: string, path: string): Promise<string | undefined> {
  try {
    const real = await realpath(join(root, path));
    if (!real.startsWith(root + sep) || !(await stat(real)).isFile()) return undefined;
    return real.slice(root.length).split(sep).join("/");
  } catch {
    return undefined;
  }
}

interface FoundFile {
  readonly root: string;
  readonly file: string;
  readonly tag: string;
  /** Never a part of it, nor "not modified". */
  readonly isWhole?: boolean;
}

function sendFile(found: FoundFile, request: AppRequest, response: AppResponse): Promise<void> {
  const { root, file, tag, isWhole = false } = found;
  return new Promise((resolve) => {
    const settle = (): void => resolve();
    response.once("close", settle);
    response.once("finish", settle);
    response.setHeader("X-Content-Type-Options", "nosniff");
    const path = file.split("/").map(encodeURIComponent).join("/");
    const sending = send(request, path, {
      root,
      // Looked at already.
      dotfiles: "allow",
      index: false,
      acceptRanges: !isWhole,
      lastModified: !isWhole,
      etag: false,
      maxAge: 0,
    });
    sending.on("headers", (_response: unknown, _path: string, facts: { size: number; mtime: Date }) => {
      if (isWhole) return;
      const { size, mtime } = facts;
      response.setHeader("ETag", `"${tag}-${size.toString(16)}-${mtime.getTime().toString(16)}"`);
    });
    sending.on("error", (error: { readonly status?: number }) => {
      // The file went meanwhile, a condition does not hold, or a range is none.
      const status = error.status ?? 500;
      if (response.headersSent) response.destroy();
      else answerInPlainText(request, response, status, TEXTS[status] ?? "the file cannot be read");
      resolve();
    });
    sending.pipe(response);
  });
}

const TEXTS: Readonly<Record<number, string>> = {
  404: "there is nothing at this address",
  412: "the file has changed",
  416: "the file has no such range",
};

/** `//host` at the beginning would be another server's. */
function collapsed(path: string): string {
  return path.replace(/^\/+/, "/");
}

function queryOf(url: string): string {
  const at = url.indexOf("?");
  return at < 0 ? "" : url.slice(at);
}
