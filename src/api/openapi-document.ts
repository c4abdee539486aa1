/** The API's description, as it is served. A test holds real answers to it. Specification: OpenAPI 3.1. */
import { BODY_BYTES_MAX } from "./read-json.js";
import { PAGE_MAX } from "./page-cursor.js";

const JSON_TYPE = "application/json";

/** @param path below which the API is served; `""` or `/api/v1` */
export function openapiDocument(path: string): unknown {
  return {
    openapi: "3.1.0",
    info: {
      title: "gitwharf",
      version: "1",
      description:
        "Repositories of a Git server. Git itself is at /repositories/{id}.git and at /NAME.git. Bodies are JSON objects of " +
        `${BODY_BYTES_MAX} bytes at most; a member that is not described here is refused. Refusals are problem details (RFC 9457).`,
    },
    servers: [{ url: path === "" ? "/" : path }],
    security: [{ basic: [] }, { bearer: [] }, {}],
    paths: {
      "/repositories": {
        get: {
          operationId: "listRepositories",
          summary: "The repositories that the caller may read, in the byte order of their names.",
          parameters: [
            {
              name: "limit",
              in: "query",
              schema: { type: "integer", minimum: 1, maximum: PAGE_MAX, default: 100 },
            },
            {
              name: "cursor",
              in: "query",
              description: "`next` of the page before, as it is.",
              schema: { type: "string" },
            },
          ],
          responses: {
            "200": answer("A page.", "RepositoryPage"),
            ...refusals("400", "401", "403", "429", "503"),
          },
        },
        post: {
          operationId: "createRepository",
          summary: "Makes an empty repository. Of several for one name exactly one is made.",
          requestBody: body("NewRepository"),
          responses: {
            "201": {
              ...answer("It is there.", "Repository"),
              headers: {
                Location: { description: "Its address, relative to that of the request.", schema: TEXT },
                ETag: ENTITY_TAG,
              },
            },
            ...refusals("400", "401", "403", "409", "413", "415", "429", "503"),
          },
        },
      },
      "/repositories/{id}": {
        parameters: [
          {
            name: "id",
            in: "path",
            required: true,
            description: "The repository's id, or its name; slashes of a name as %2F or as they are.",
            schema: { type: "string" },
          },
        ],
        get: {
          operationId: "showRepository",
          parameters: [{ name: "If-None-Match", in: "header", schema: { type: "string" } }],
          responses: {
            "200": { ...answer("The repository.", "Repository"), headers: { ETag: ENTITY_TAG } },
            "304": { description: "It is as `If-None-Match` says.", headers: { ETag: ENTITY_TAG } },
            ...refusals("400", "401", "403", "404", "429", "503"),
          },
        },
        put: {
          operationId: "renameRepository",
          summary:
            "Gives it another name. Its id stays where it is another than the name; requests at work go on.",
          parameters: [IF_MATCH],
          requestBody: body("ChangedRepository"),
          responses: {
            "200": { ...answer("It has this name.", "Repository"), headers: { ETag: ENTITY_TAG } },
            ...refusals("400", "401", "403", "404", "409", "412", "413", "415", "429", "501", "503"),
          },
        },
        delete: {
          operationId: "deleteRepository",
          parameters: [IF_MATCH],
          responses: {
            "204": { description: "It is gone." },
            ...refusals("400", "401", "403", "404", "412", "429", "503"),
          },
        },
      },
      "/health": {
        get: {
          operationId: "health",
          summary: "Can the server do its work? Nobody is asked who they are.",
          security: [{}],
          responses: {
            "200": answer("It can.", "Health"),
            "503": {
              description: "It cannot, or takes nothing any more.",
              content: {
                [JSON_TYPE]: { schema: reference("Health") },
                "application/problem+json": { schema: reference("Problem") },
              },
            },
            ...refusals("403", "429"),
          },
        },
      },
      "/openapi.json": {
        get: {
          operationId: "openapi",
          summary: "This document. Nobody is asked who they are.",
          security: [{}],
          responses: {
            "200": {
              description: "It.",
              content: { [JSON_TYPE]: { schema: { type: "object" } } },
            },
            ...refusals("403", "429", "503"),
          },
        },
      },
    },
    components: {
      securitySchemes: {
        basic: { type: "http", scheme: "basic", description: "A user and password, or an access token." },
        bearer: { type: "http", scheme: "bearer", description: "An access token, or a signed one." },
      },
      responses: {
        Problem: {
          description: "Why not.",
          content: { "application/problem+json": { schema: reference("Problem") } },
        },
      },
      schemas: SCHEMAS,
    },
  };
}

const TEXT = { type: "string" };
const ENTITY_TAG = { schema: TEXT };
const IF_MATCH = {
  name: "If-Match",
  in: "header",
  description: "Only if the repository is still as it was when this was its `ETag`.",
  schema: TEXT,
};
const NAME = {
  type: "string",
  minLength: 1,
  description:
    "One to eight segments joined by `/`: ASCII letters, digits, `_`, `-` and `.`, each of 100 characters at most. `.git` at its end is taken off.",
};
const ID = {
  type: "string",
  minLength: 1,
  description: "Stays when the repository is renamed, where the store gives such ids; otherwise its name.",
};
const OBJECT_FORMAT = { enum: ["sha1", "sha256"] };

const SCHEMAS = {
  RepositorySummary: closed({ id: ID, name: NAME }),
  Repository: closed({
    id: ID,
    name: NAME,
    objectFormat: OBJECT_FORMAT,
    defaultBranch: {
      type: ["string", "null"],
      description: "What HEAD names; null: no branch, or none that the caller may see.",
    },
  }),
  RepositoryPage: {
    ...closed({
      repositories: { type: "array", items: reference("RepositorySummary") },
      next: { type: "string", minLength: 1, description: "There when there are more." },
    }),
    required: ["repositories"],
  },
  NewRepository: {
    ...closed({
      name: NAME,
      objectFormat: { ...OBJECT_FORMAT, description: "As the server is configured, if it is not here." },
      defaultBranch: { type: "string", minLength: 1, description: "The same." },
    }),
    required: ["name"],
  },
  ChangedRepository: closed({ name: NAME }),
  Health: closed({
    ready: { type: "boolean" },
    parts: {
      type: "object",
      description: "What the server cannot do without: the bucket, the database, the disk and others.",
      additionalProperties: { enum: ["ok", "unavailable"] },
    },
  }),
  Problem: closed({
    type: { const: "about:blank" },
    title: { type: "string", description: "What the status is called." },
    status: { type: "integer" },
    detail: { type: "string", description: "One sentence for a person." },
    code: { type: "string", pattern: "^[a-z]+/[a-z0-9-]+$", description: "Stable; docs/errors.md." },
  }),
};

/** An object that has all of these members and no others. */
function closed(properties: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return { type: "object", properties, required: Object.keys(properties), additionalProperties: false };
}

function reference(schema: string): { readonly $ref: string } {
  return { $ref: `#/components/schemas/${schema}` };
}

function body(schema: string): unknown {
  return { required: true, content: { [JSON_TYPE]: { schema: reference(schema) } } };
}

function answer(description: string, schema: string): Readonly<Record<string, unknown>> {
  return { description, content: { [JSON_TYPE]: { schema: reference(schema) } } };
}

/** What any of these means is in docs/api.md. */
function refusals(...statuses: readonly string[]): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    [...statuses, "500"].map((status) => [status, { $ref: "#/components/responses/Problem" }]),
  );
}
