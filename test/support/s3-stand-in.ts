/**
 * A store that speaks enough of S3 for our driver and does wrong what a test wants: answers late, never, halfway, with
 * errors, or not although it has done what was asked. What a right store does is tested with a real one (`ceph.ts`).
 * Checks Content-MD5, not signatures.
 */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { S3BucketOptions } from "../../src/storage/object-store/bucket/s3-bucket.js";

export interface StandInRequest {
  readonly operation: string;
  readonly key: string;
  /** 1 for the first of this operation. */
  readonly number: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: Buffer;
  /** Resolves when the answer is over; true: the client has gone before. */
  readonly left: Promise<boolean>;
}

export type StandInFault =
  /** Nothing is done, and the answer is an error. */
  | { readonly status: number; readonly code: string }
  /** It is done, and then the connection is cut; "reset": it is not done. */
  | "lost"
  | "reset"
  /** No answer ever, and nothing is done. */
  | "silent"
  /** It is done when the promise has resolved. */
  | { readonly late: Promise<unknown> }
  /** The answer breaks off after so many bytes of its body; with `stalls` it only goes no further. */
  | { readonly bytes: number; readonly stalls?: boolean }
  /** It is not done, and this is the answer, with status 200. */
  | { readonly says: string };

export interface S3StandIn {
  /** Quick to give up on one attempt and to try again. */
  readonly options: S3BucketOptions;
  readonly requests: readonly StandInRequest[];
  readonly objects: Map<string, Buffer>;
  /** Begun, neither completed nor cancelled. */
  readonly uploads: ReadonlyMap<string, ReadonlyMap<number, Buffer>>;
  /** Connections that were opened. */
  readonly connections: number;
  /** The most requests that were at work at once. */
  readonly busiest: number;
  decide: (request: StandInRequest) => StandInFault | undefined;
  operations(): readonly string[];
  close(): Promise<void>;
}

export async function startS3StandIn(): Promise<S3StandIn> {
  const requests: StandInRequest[] = [];
  const objects = new Map<string, Buffer>();
  const uploads = new Map<string, Map<number, Buffer>>();
  const counts = { connections: 0, busy: 0, busiest: 0 };
  const server = createServer((request, response) => {
    counts.busiest = Math.max(counts.busiest, ++counts.busy);
    let isOver = false;
    const over = (): void => {
      if (!isOver) counts.busy--;
      isOver = true;
    };
    response.once("finish", over).once("close", over);
    answer(request, response).catch(() => response.destroy());
  });
  server.on("connection", () => counts.connections++);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  const standIn: S3StandIn = {
    options: {
      bucket: "stand-in",
      endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      credentials: { accessKeyId: "some-access-key", secretAccessKey: "some-secret-key" },
      backoffMs: 1,
      attemptsMax: 4,
      hedgeAfterMs: Infinity,
    },
    requests,
    objects,
    uploads,
    get connections() {
      return counts.connections;
    },
    get busiest() {
      return counts.busiest;
    },
    decide: () => undefined,
    operations: () => requests.map(({ operation }) => operation),
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };

  async function answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(incoming.url ?? "", "http://stand-in");
    const key = decodeURIComponent(url.pathname.split("/").slice(2).join("/"));
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const operation = operationOf(incoming.method ?? "", key, url.searchParams);
    const number = requests.filter((each) => each.operation === operation).length + 1;
    let isFinished = false;
    response.once("finish", () => {
      isFinished = true;
    });
    const left = once(response, "close").then(() => !isFinished);
    const request = { operation, key, number, headers: incoming.headers, body, left };
    requests.push(request);
    const fault = standIn.decide(request);
    if (fault === "silent") return;
    if (fault === "reset") return void response.destroy();
    if (typeof fault === "object") {
      if ("late" in fault) await fault.late;
      if ("status" in fault) return refuse(response, fault.status, fault.code);
      if ("says" in fault) return void response.end(fault.says);
    }
    const said = carryOut(request, url.searchParams);
    if (fault === "lost") return void response.destroy();
    if (said.code !== undefined) return refuse(response, said.status, said.code);
    response.writeHead(said.status, { "Content-Length": said.body.length, ...said.headers });
    if (operation === "HeadObject") return void response.end();
    if (typeof fault !== "object" || !("bytes" in fault)) return void response.end(said.body);
    response.write(said.body.subarray(0, fault.bytes), () => {
      if (fault.stalls !== true) response.destroy();
    });
  }

  function carryOut({ operation, key, headers, body }: StandInRequest, query: URLSearchParams): Said {
    const md5 = headers["content-md5"];
    if (md5 !== undefined && createHash("md5").update(body).digest("base64") !== md5)
      return { status: 400, code: "BadDigest", body: NOTHING };
    const upload = query.get("uploadId") ?? "";
    const found = objects.get(key);
    switch (operation) {
      case "PutObject":
        objects.set(key, body);
        return { status: 200, body: NOTHING };
      case "HeadObject":
        if (found === undefined) return { status: 404, code: "NotFound", body: NOTHING };
        return { status: 200, body: found };
      case "GetObject":
        if (found === undefined) return { status: 404, code: "NoSuchKey", body: NOTHING };
        return rangeOf(found, headers.range);
      case "DeleteObject":
        objects.delete(key);
        return { status: 204, body: NOTHING };
      case "DeleteObjects":
        for (const [, name = ""] of body.toString().matchAll(/<Key>([^<]*)<\/Key>/g)) objects.delete(name);
        return { status: 200, body: Buffer.from("<DeleteResult/>") };
      case "ListObjectsV2":
        return { status: 200, body: Buffer.from(listOf(objects)) };
      case "CreateMultipartUpload": {
        const id = `upload-${requests.length}`;
        uploads.set(id, new Map());
        const text = `<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`;
        return { status: 200, body: Buffer.from(text) };
      }
      case "UploadPart":
        uploads.get(upload)?.set(Number(query.get("partNumber")), body);
        return { status: 200, body: NOTHING, headers: { ETag: '"part"' } };
      case "CompleteMultipartUpload": {
        const parts = uploads.get(upload);
        if (parts === undefined) return { status: 404, code: "NoSuchUpload", body: NOTHING };
        const numbers = [...body.toString().matchAll(/<PartNumber>(\d+)</g)].map(([, text]) => Number(text));
        objects.set(key, Buffer.concat(numbers.map((part) => parts.get(part) ?? NOTHING)));
        uploads.delete(upload);
        return { status: 200, body: Buffer.from("<CompleteMultipartUploadResult/>") };
      }
      case "AbortMultipartUpload":
        if (!uploads.delete(upload)) return { status: 404, code: "NoSuchUpload", body: NOTHING };
        return { status: 204, body: NOTHING };
      default:
        return { status: 501, code: "NotImplemented", body: NOTHING };
    }
  }

  return standIn;
}

interface Said {
  readonly status: number;
  /** Of an error. */
  readonly code?: string;
  readonly body: Buffer;
  readonly headers?: Record<string, string>;
}

const NOTHING = Buffer.alloc(0);

function operationOf(method: string, key: string, query: URLSearchParams): string {
  if (query.has("delete")) return "DeleteObjects";
  if (query.has("uploads")) return "CreateMultipartUpload";
  if (query.has("partNumber")) return "UploadPart";
  if (query.has("uploadId")) return method === "POST" ? "CompleteMultipartUpload" : "AbortMultipartUpload";
  if (key === "") return method === "HEAD" ? "HeadBucket" : "ListObjectsV2";
  const names: Record<string, string> = { PUT: "PutObject", HEAD: "HeadObject", DELETE: "DeleteObject" };
  return names[method] ?? "GetObject";
}

function rangeOf(bytes: Buffer, range: string | undefined): Said {
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(range ?? "") ?? [];
  if (first === undefined) return { status: 200, body: bytes };
  const start = Number(first);
  if (start >= bytes.length) return { status: 416, code: "InvalidRange", body: NOTHING };
  const end = Math.min(bytes.length, last === undefined || last === "" ? bytes.length : Number(last) + 1);
  const headers = { "Content-Range": `bytes ${start}-${end - 1}/${bytes.length}` };
  return { status: 206, body: bytes.subarray(start, end), headers };
}

function listOf(objects: ReadonlyMap<string, Buffer>): string {
  const entries = [...objects].map(
    ([key, { length }]) =>
      `<Contents><Key>${key}</Key><Size>${length}</Size><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>`,
  );
  return `<ListBucketResult><IsTruncated>false</IsTruncated>${entries.join("")}</ListBucketResult>`;
}

function refuse(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { "Content-Type": "application/xml" });
  response.end(`<Error><Code>${code}</Code><Message>as the test wants it</Message></Error>`);
}
