/**
 * Makes `descriptions/` anew from the packages that carry what the forges publish:
 *
 *     npm pack @octokit/openapi gitea-js forgejo-js    # and unpack each into DIRECTORY/NAME
 *     node dist/test/support/forges/extract-descriptions.js DIRECTORY
 *
 * @octokit/openapi is GitHub's description itself (385 MB unpacked: not a dependency). gitea-js and forgejo-js are generated from
 * the Swagger descriptions of Gitea and Forgejo; their types say again what those say. GitLab's is in no package: `gitlab.jsonl` is
 * written by hand, after https://docs.gitlab.com/api/.
 *
 * Objects are closed: a field that the description does not know is an error.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { descriptionFile, type Operation, type Schema } from "./forge-description.js";

const GITHUB = [
  "GET /user",
  "GET /repos/{owner}/{repo}",
  "GET /repos/{owner}/{repo}/git/ref/{ref}",
  "GET /repos/{owner}/{repo}/contents/{path}",
  "POST /repos/{owner}/{repo}/forks",
  "GET /repos/{owner}/{repo}/pulls",
  "POST /repos/{owner}/{repo}/pulls",
  "GET /repos/{owner}/{repo}/pulls/{pull_number}",
  "PATCH /repos/{owner}/{repo}/pulls/{pull_number}",
  "POST /repos/{owner}/{repo}/issues",
  "POST /repos/{owner}/{repo}/issues/{issue_number}/comments",
  "DELETE /repos/{owner}/{repo}/issues/comments/{comment_id}",
];

/** With the status of each, which the types do not say. */
const GITEA: Readonly<Record<string, number>> = {
  "GET /user": 200,
  "GET /repos/{owner}/{repo}": 200,
  "GET /repos/{owner}/{repo}/contents/{filepath}": 200,
  "GET /repos/{owner}/{repo}/forks": 200,
  "POST /repos/{owner}/{repo}/forks": 202,
  "GET /repos/{owner}/{repo}/pulls": 200,
  "POST /repos/{owner}/{repo}/pulls": 201,
  "GET /repos/{owner}/{repo}/pulls/{index}": 200,
  "PATCH /repos/{owner}/{repo}/pulls/{index}": 201,
  "GET /repos/{owner}/{repo}/labels": 200,
  "POST /repos/{owner}/{repo}/issues": 201,
  "POST /repos/{owner}/{repo}/issues/{index}/comments": 201,
  "DELETE /repos/{owner}/{repo}/issues/comments/{id}": 204,
  "GET /repos/{owner}/{repo}/issue_templates": 200,
};

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const at = (value: unknown, ...path: readonly string[]): unknown =>
  path.reduce<unknown>((each, key) => (isObject(each) ? each[key] : undefined), value);

// OpenAPI 3.0

const MEANING = new Set([
  "type",
  "enum",
  "required",
  "items",
  "oneOf",
  "anyOf",
  "allOf",
  "minimum",
  "maximum",
  "minItems",
]);
const FORMATS = new Set(["date-time", "uri", "email"]);

function fromOpenApi(value: unknown, wanted: (name: string) => void): Schema {
  if (!isObject(value)) return {};
  const reference = value["$ref"];
  if (typeof reference === "string") {
    const name = reference.slice(reference.lastIndexOf("/") + 1);
    wanted(name);
    return { $ref: `#/$defs/${name}` };
  }
  const schema: Json = {};
  for (const [key, each] of Object.entries(value)) {
    if (key === "properties" && isObject(each))
      schema[key] = Object.fromEntries(
        Object.entries(each).map(([name, property]) => [name, fromOpenApi(property, wanted)]),
      );
    else if (key === "additionalProperties") schema[key] = isObject(each) ? fromOpenApi(each, wanted) : each;
    else if (key === "format" && FORMATS.has(String(each))) schema[key] = each;
    else if (key === "items") schema[key] = fromOpenApi(each, wanted);
    else if (/^(?:one|any|all)Of$/.test(key) && Array.isArray(each))
      // More than one fits where only names differ.
      schema[key === "oneOf" ? "anyOf" : key] = each.map((one) => fromOpenApi(one, wanted));
    else if (MEANING.has(key)) schema[key] = each;
  }
  if (schema["properties"] !== undefined) schema["additionalProperties"] ??= false;
  if (value["nullable"] !== true) return schema;
  if (typeof schema["type"] !== "string") return { anyOf: [schema, { type: "null" }] };
  return {
    ...schema,
    type: [schema["type"], "null"],
    ...(Array.isArray(schema["enum"]) && { enum: [...new Set([...(schema["enum"] as unknown[]), null])] }),
  };
}

function extractGitHub(file: string): readonly string[] {
  const document: unknown = JSON.parse(readFileSync(file, "utf8"));
  const names = new Set<string>();
  const wanted = (name: string): void => void names.add(name);
  const resolve = (value: unknown): unknown => {
    const reference = at(value, "$ref");
    return typeof reference === "string" ? at(document, ...reference.split("/").slice(1)) : value;
  };
  const json = (value: unknown): unknown => at(value, "content", "application/json", "schema");
  const operations = GITHUB.map((operation): Operation => {
    const [method = "", path = ""] = operation.split(" ");
    const about = at(document, "paths", path, method.toLowerCase());
    if (about === undefined) throw new Error(`there is no ${operation}`);
    const parameters = (at(about, "parameters") as readonly unknown[] | undefined) ?? [];
    const query = parameters
      .map(resolve)
      .filter((each) => at(each, "in") === "query")
      .map((each) => [String(at(each, "name")), fromOpenApi(at(each, "schema"), wanted)] as const);
    const body = json(at(about, "requestBody"));
    const responses = Object.entries(at(about, "responses") as Json).filter(([status]) =>
      status.startsWith("2"),
    );
    return {
      operation,
      query: Object.fromEntries(query),
      ...(body !== undefined && { body: fromOpenApi(body, wanted) }),
      answers: Object.fromEntries(
        responses.map(([status, each]) => {
          const schema = json(resolve(each));
          return [status, schema === undefined ? null : fromOpenApi(schema, wanted)];
        }),
      ),
    };
  });
  const lines = operations.map((each) => JSON.stringify(each));
  // Looking at one may want others.
  for (const name of names)
    lines.push(
      JSON.stringify({ name, schema: fromOpenApi(at(document, "components", "schemas", name), wanted) }),
    );
  return lines;
}

// The types that swagger-typescript-api makes

function fromType(text: string, wanted: (name: string) => void): Schema {
  const type = text.trim();
  if (type === "string" || type === "boolean" || type === "number") return { type };
  if (type === "any" || type === "object") return {};
  if (type.endsWith("[]")) return { type: "array", items: fromType(type.slice(0, -2), wanted) };
  const record = /^Record<string, (.*)>$/.exec(type)?.[1];
  if (record !== undefined) return { type: "object", additionalProperties: fromType(record, wanted) };
  if (/^'[^']*'(?: \| '[^']*')*$/.test(type))
    return { enum: type.split(" | ").map((each) => each.slice(1, -1)) };
  if (!/^[A-Z][A-Za-z0-9]*$/.test(type)) throw new Error(`what is the type ${type}?`);
  wanted(type);
  return { $ref: `#/$defs/${type}` };
}

/** Members of `{ a: T; b?: U; }`, without comments. */
function members(
  text: string,
  wanted: (name: string) => void,
): { properties: Record<string, Schema>; required: string[] } {
  const properties: Record<string, Schema> = {};
  const required: string[] = [];
  for (const [, name = "", optional, type = ""] of text
    .replace(/\/\*\*.*?\*\//gs, "")
    .matchAll(/^\s*'?([\w+-]+)'?(\?)?: (.*);$/gm)) {
    properties[name] = fromType(type, wanted);
    if (optional === undefined) required.push(name);
  }
  return { properties, required };
}

function extractGitea(file: string): readonly string[] {
  const types = readFileSync(file, "utf8");
  const names = new Set<string>();
  const wanted = (name: string): void => void names.add(name);
  const operations = Object.entries(GITEA).map(([operation, status]): Operation => {
    const request = ` @request ${operation.replace(" ", ":")}\n`;
    const from = types.indexOf(request);
    if (from < 0) throw new Error(`there is no ${operation}`);
    const signature =
      /\*\/\s*\w+: \((.*?)params\?: RequestParams\) => Promise<HttpResponse<([\w[\]]+), [\w |]+>>;/s.exec(
        types.slice(from),
      );
    const [, parameters = "", answer = ""] = signature ?? [];
    const query = /query\?: \{(.*?)\n {8}\}/s.exec(parameters)?.[1] ?? "";
    const body = /body: (\w+),/.exec(parameters)?.[1];
    return {
      operation,
      query: members(query, wanted).properties,
      ...(body !== undefined && { body: fromType(body, wanted) }),
      answers: { [status]: status === 204 ? null : fromType(answer, wanted) },
    };
  });
  const lines = operations.map((each) => JSON.stringify(each));
  for (const name of names) {
    const alias = new RegExp(`^type ${name} = (.*);$`, "m").exec(types)?.[1];
    const content = new RegExp(`^interface ${name} \\{\\n(.*?)^\\}`, "ms").exec(types)?.[1];
    if (alias === undefined && content === undefined) throw new Error(`there is no type ${name}`);
    const schema =
      alias === undefined
        ? { type: "object", ...members(content ?? "", wanted), additionalProperties: false }
        : fromType(alias, wanted);
    lines.push(JSON.stringify({ name, schema }));
  }
  return lines;
}

const [, , directory] = process.argv;
if (directory !== undefined) {
  const write = (name: string, lines: readonly string[]): void =>
    writeFileSync(descriptionFile(name), `${lines.join("\n")}\n`);
  write("github", extractGitHub(join(directory, "@octokit/openapi/generated/api.github.com.json")));
  write("gitea", extractGitea(join(directory, "gitea-js/dist/index.d.ts")));
  write("forgejo", extractGitea(join(directory, "forgejo-js/dist/index.d.ts")));
}
