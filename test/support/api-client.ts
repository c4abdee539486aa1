/**
 * Requests to the API, and every answer held to the API's own description: a status, a content type or a member that is
 * not described is an error.
 */
import { openapiDocument } from "../../src/api/openapi-document.js";
import { send } from "./raw-http.js";
import { type Schema, whatIsWrong } from "./json-schema.js";

export interface ApiAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** undefined: there is no body. */
  readonly value: Readonly<Record<string, unknown>> | undefined;
}

export interface ApiCall {
  readonly json?: unknown;
  /** In place of `json`. */
  readonly body?: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
  /** `ada` signs in with the password `ada's`. */
  readonly user?: string;
}

export interface ApiClient {
  call(method: string, path: string, options?: ApiCall): Promise<ApiAnswer>;
}

export function passwordOf(user: string): string {
  return `${user}'s`;
}

/** @param url of the server, and the path of the API */
export function createApiClient(url: string): ApiClient {
  return {
    async call(method, path, { json, body, headers, user } = {}) {
      const text = body ?? (json === undefined ? undefined : JSON.stringify(json));
      const credentials = Buffer.from(`${user}:${passwordOf(user ?? "")}`).toString("base64");
      const answer = await send(url, {
        method,
        path: `${new URL(url).pathname.replace(/\/$/, "")}${path}`,
        ...(text === undefined ? {} : { body: text }),
        headers: {
          ...(text === undefined ? {} : { "Content-Type": "application/json" }),
          ...(user === undefined ? {} : { Authorization: `Basic ${credentials}` }),
          ...headers,
        },
      });
      const value: unknown = answer.body.length === 0 ? undefined : JSON.parse(answer.body.toString());
      if (method !== "HEAD" && method !== "OPTIONS" && answer.status !== 405)
        requireDescribed({
          method,
          path,
          status: answer.status,
          type: answer.headers["content-type"],
          value,
        });
      return { status: answer.status, headers: answer.headers, value: value as ApiAnswer["value"] };
    },
  };
}

const DOCUMENT = openapiDocument("") as Schema & {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Described>>>>;
};

interface Described {
  readonly responses: Readonly<Record<string, Response>>;
}

interface Response {
  readonly $ref?: string;
  readonly content?: Readonly<Record<string, { readonly schema: Schema }>>;
}

interface Told {
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly type: string | undefined;
  readonly value: unknown;
}

function requireDescribed({ method, path, status, type, value }: Told): void {
  const what = `${method} ${path} ${status}`;
  const [plain = ""] = path.split("?", 1);
  const template = plain.startsWith("/repositories/") ? "/repositories/{id}" : plain;
  const described = DOCUMENT.paths[template]?.[method.toLowerCase()]?.responses[String(status)];
  if (described === undefined) throw new Error(`${what} is not described: ${JSON.stringify(value)}`);
  const { content } = described.$ref === undefined ? described : problemResponse(described.$ref);
  if (content === undefined) {
    if (value !== undefined) throw new Error(`${what} has a body that is not described`);
    return;
  }
  const schema = content[type ?? ""]?.schema;
  if (schema === undefined) throw new Error(`${what} has a content type that is not described: ${type}`);
  const wrong = whatIsWrong(value, schema, DOCUMENT);
  if (wrong !== "") throw new Error(`${what}: ${wrong}`);
}

function problemResponse(reference: string): Response {
  const { responses } = DOCUMENT["components"] as { readonly responses: Readonly<Record<string, Response>> };
  const response = responses[reference.replace("#/components/responses/", "")];
  if (response === undefined) throw new Error(`nothing is at ${reference}`);
  return response;
}
