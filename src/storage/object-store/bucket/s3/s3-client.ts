/**
 * The S3 client of AWS, set up for stores that are not AWS as well. Loaded when a bucket is opened, so that nobody else
 * pays for it. This file and `s3-requests.ts`' callers are all that would change with another client:
 * docs/decisions/s3-client.md
 */
import { createHash } from "node:crypto";
import type * as Library from "@aws-sdk/client-s3";
import type { S3Client, S3ClientConfig } from "@aws-sdk/client-s3";
import type { S3BucketOptions } from "../s3-bucket.js";

export type S3Library = typeof Library;

export interface OpenedS3Client {
  readonly library: S3Library;
  readonly client: S3Client;
  presign(bucket: string, key: string, expiresSeconds: number): Promise<string>;
}

export interface S3ClientSettings {
  readonly socketsMax: number;
  readonly connectMs: number;
}

/** The region of stores that have none; RGW, MinIO and the others take it. */
const ANY_REGION = "us-east-1";
const IDLE_SOCKETS_MAX = 64;
const KEEP_ALIVE_MS = 15_000;

export async function openS3Client(
  { endpoint, region, pathStyle, credentials }: S3BucketOptions,
  { socketsMax, connectMs }: S3ClientSettings,
): Promise<OpenedS3Client> {
  const library = await import("@aws-sdk/client-s3");
  const agent = {
    keepAlive: true,
    keepAliveMsecs: KEEP_ALIVE_MS,
    maxSockets: socketsMax,
    maxFreeSockets: IDLE_SOCKETS_MAX,
  };
  const usedRegion = region ?? (endpoint === undefined || hasRegion() ? undefined : ANY_REGION);
  const config: S3ClientConfig = {
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(usedRegion === undefined ? {} : { region: usedRegion }),
    ...(credentials === undefined ? {} : { credentials }),
    forcePathStyle: pathStyle ?? endpoint !== undefined,
    // Checksums in trailers are an invention of AWS that other stores refuse. Content-MD5 they all know.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    // Trying again is our own doing: reads go on where they stopped, and a lost Complete is looked up.
    maxAttempts: 1,
    // It opens a connection of its own for each body of 2 MiB.
    expectContinueHeader: false,
    requestHandler: { connectionTimeout: connectMs, socketTimeout: 0, httpAgent: agent, httpsAgent: agent },
  };
  const client = withoutWarning(() => new library.S3Client(config));
  signByMd5(client);
  return {
    library,
    client,
    async presign(bucket, key, expiresSeconds) {
      const { getSignedUrl } = await import("@aws-sdk/s3-request-presigner");
      const command = new library.GetObjectCommand({ Bucket: bucket, Key: key });
      return getSignedUrl(client, command, { expiresIn: expiresSeconds });
    },
  };
}

/** Which Node its next version wants is for those to know who choose the version. */
function withoutWarning<T>(create: () => T): T {
  const name = "AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED";
  const before = process.env[name];
  process.env[name] = "true";
  try {
    return create();
  } finally {
    if (before === undefined) delete process.env[name];
    else process.env[name] = before;
  }
}

function hasRegion(): boolean {
  return ["AWS_REGION", "AWS_DEFAULT_REGION"].some((name) => (process.env[name] ?? "") !== "");
}

/**
 * A body with Content-MD5, which is signed, needs no SHA-256 besides where TLS protects it. And a deletion of many keys
 * gets the Content-MD5 that S3 used to ask for, instead of the CRC that only AWS takes.
 */
function signByMd5(client: S3Client): void {
  client.middlewareStack.add(
    (next, context) => (args) => {
      const request = args.request as HttpRequest;
      if (context.commandName === "DeleteObjectsCommand") {
        for (const name of Object.keys(request.headers))
          if (/^x-amz-(?:sdk-)?checksum/i.test(name)) delete request.headers[name];
        const md5 = createHash("md5").update(request.body as string | Uint8Array);
        request.headers["content-md5"] = md5.digest("base64");
      }
      if (request.protocol === "https:" && "content-md5" in request.headers)
        request.headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD";
      return next(args);
    },
    { step: "build", priority: "low", name: "contentMd5" },
  );
}

interface HttpRequest {
  readonly protocol: string;
  readonly headers: Record<string, string>;
  readonly body?: unknown;
}
