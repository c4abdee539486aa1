/**
 * Dumb HTTP, for reading only: `info/refs` without a service, `HEAD`, and files under `objects/`.
 * Specification: gitprotocol-http ("Dumb Clients").
 *
 * Differs from git: refused for a repository that hides refs, because files know no refs and would give out
 * objects that only hidden refs reach.
 */
import { GitwharfError } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { peeledOf } from "../../protocol/upload-pack/visible-refs.js";
import type { RepositoryFile } from "../../storage/contracts/repository.js";
import { countOutput } from "../count-bytes.js";
import type { ServiceCall } from "../service-call.js";
import type { HttpExchange } from "./answer-request.js";
import { withFilesCall } from "./files-call.js";
import { setCacheForever, setNoCache } from "./no-cache.js";
import { createResponseSink } from "./response-sink.js";

export async function serveInfoRefsFile(exchange: HttpExchange, name: string): Promise<void> {
  await withReadableFiles(exchange, name, async (call) => {
    const snapshot = await call.repository.snapshot();
    try {
      const lines: string[] = [];
      for (const ref of snapshot.refs.all) {
        lines.push(`${ref.oid}\t${ref.name}\n`);
        const read = peeledOf(snapshot.objects, ref);
        const peeled = isPromise(read) ? await read : read;
        if (peeled !== undefined) lines.push(`${peeled}\t${ref.name}^{}\n`);
      }
      const body = Buffer.from(lines.join(""));
      setNoCache(exchange.response);
      await send(exchange, "text/plain; charset=utf-8", body.length, () => [body]);
    } finally {
      snapshot.release();
    }
  });
}

export async function serveFile(exchange: HttpExchange, name: string, path: string): Promise<void> {
  await withReadableFiles(exchange, name, async (call) => {
    const file = await call.repository.openFile?.(path);
    if (file === undefined)
      throw new GitwharfError("storage/not-found", `'${path}' is not in repository '${name}'`);
    try {
      const { response } = exchange;
      const immutable = /^objects\/(?:[0-9a-f]{2}|pack)\//.test(path);
      if (immutable) setCacheForever(response);
      else setNoCache(response);
      response.setHeader("Last-Modified", new Date(file.modifiedMs).toUTCString());
      await sendFile(exchange, contentType(path), file);
    } finally {
      await file.close();
    }
  });
}

/** All of it, or the range that is asked for. */
export async function sendFile(
  exchange: HttpExchange,
  type: string,
  file: Pick<RepositoryFile, "sizeBytes" | "read">,
): Promise<void> {
  const { response, request } = exchange;
  response.setHeader("Accept-Ranges", "bytes");
  const range = parseRange(request.headers.range, file.sizeBytes);
  if (range === "unsatisfiable") {
    response.statusCode = 416;
    response.setHeader("Content-Range", `bytes */${file.sizeBytes}`);
    await send(exchange, "text/plain; charset=utf-8", 0, () => []);
    return;
  }
  const { start, end } = range ?? { start: 0, end: file.sizeBytes };
  if (range !== undefined) {
    response.statusCode = 206;
    response.setHeader("Content-Range", `bytes ${start}-${end - 1}/${file.sizeBytes}`);
  }
  await send(exchange, type, end - start, () => file.read({ start, end }));
}

async function withReadableFiles(
  exchange: HttpExchange,
  name: string,
  use: (call: ServiceCall) => Promise<void>,
): Promise<void> {
  await withFilesCall(exchange, name, async (call) => {
    const { settings } = call;
    if (
      !settings.http.getAnyFile ||
      settings.uploadPack.hideRefs.length > 0 ||
      call.isHiddenRef !== undefined
    ) {
      throw new GitwharfError(
        "protocol/service-disabled",
        `plain files of repository '${name}' are not served; use a client that speaks smart HTTP`,
      );
    }
    await use(call);
  });
}

async function send(
  exchange: HttpExchange,
  type: string,
  sizeBytes: number,
  body: () => Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<void> {
  const { response, request, host, signal } = exchange;
  response.setHeader("Content-Type", type);
  response.setHeader("Content-Length", sizeBytes);
  const sink = createResponseSink(response, {
    idleTimeoutMs: host.limits.idleTimeoutMs,
    signal,
    onFirstWrite: () => undefined,
  });
  if (request.method !== "HEAD") {
    const counted = countOutput(sink, exchange.caller.activity);
    for await (const chunk of body()) await counted.write(chunk);
  }
  await sink.end();
}

function contentType(path: string): string {
  if (path.endsWith(".pack")) return "application/x-git-packed-objects";
  if (path.endsWith(".idx")) return "application/x-git-packed-objects-toc";
  if (/^objects\/[0-9a-f]{2}\//.test(path)) return "application/x-git-loose-object";
  return "text/plain; charset=utf-8";
}

/** One `bytes=` range (RFC 9110 14.1.2); several ranges or another unit are answered whole. `end` is exclusive. */
export function parseRange(
  header: string | undefined,
  sizeBytes: number,
): { readonly start: number; readonly end: number } | "unsatisfiable" | undefined {
  const match = /^bytes=([0-9]{0,15})-([0-9]{0,15})$/.exec(header?.trim() ?? "");
  if (match === null) return undefined;
  const [, first = "", last = ""] = match;
  if (first === "" && last === "") return undefined;
  if (first === "") {
    const length = Math.min(Number(last), sizeBytes);
    return length === 0 ? "unsatisfiable" : { start: sizeBytes - length, end: sizeBytes };
  }
  const start = Number(first);
  if (last !== "" && Number(last) < start) return undefined;
  if (start >= sizeBytes) return "unsatisfiable";
  return { start, end: last === "" ? sizeBytes : Math.min(Number(last) + 1, sizeBytes) };
}
