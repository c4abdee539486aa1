/** Requests and answers of a forge, held to its descriptions. */
import { Ajv, type ValidateFunction } from "ajv";
import type { ForgeDescription, Schema } from "./forge-description.js";

export interface MatchedOperation {
  readonly operation: string;
  readonly parameters: Readonly<Record<string, string>>;
}

export interface CheckedApi {
  /** @param path as it came, escaped */
  match(method: string, path: string): MatchedOperation | undefined;
  /** "" when all descriptions allow it. */
  wrongRequest(operation: string, query: URLSearchParams, body: unknown): string;
  wrongAnswer(operation: string, status: number, body: unknown): string;
  /** An answer with all that it has to have, of what is given and things made up. */
  filled(operation: string, status: number, given: unknown): unknown;
}

/** Schemas are compiled once in a process: it takes longer than most tests. */
const made = new Map<string, CheckedApi>();

export function createCheckedApi(descriptions: readonly ForgeDescription[]): CheckedApi {
  const each = descriptions.map((description) => {
    const one = made.get(description.name) ?? createOne(description);
    made.set(description.name, one);
    return one;
  });
  const [first] = each;
  if (first === undefined) throw new Error("a forge without a description");
  const firstWrong = (ask: (one: CheckedApi) => string): string =>
    each.map(ask).find((why) => why !== "") ?? "";
  return {
    ...first,
    wrongRequest: (...about) => firstWrong((one) => one.wrongRequest(...about)),
    wrongAnswer: (...about) => firstWrong((one) => one.wrongAnswer(...about)),
  };
}

function createOne({ name, operations, schemas }: ForgeDescription): CheckedApi {
  const ajv = new Ajv({ strict: false, allErrors: false });
  ajv.addFormat("date-time", (text: string) => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/.test(text));
  ajv.addFormat("uri", (text: string) => URL.canParse(text));
  ajv.addFormat("email", /@/);
  const compiled = new Map<string, ValidateFunction>();
  const validator = (key: string, schema: Schema): ValidateFunction => {
    const known = compiled.get(key) ?? ajv.compile({ $defs: schemas, ...schema });
    compiled.set(key, known);
    return known;
  };
  const wrong = (key: string, schema: Schema, value: unknown): string => {
    const validate = validator(key, schema);
    return validate(value)
      ? ""
      : `${name} ${key}: ${ajv.errorsText(validate.errors)} in ${JSON.stringify(value).slice(0, 2000)}`;
  };
  const patterns = operations.map((one) => ({ one, ...patternOf(one.operation) }));
  const byName = new Map(operations.map((one) => [one.operation, one]));
  const answerOf = (operation: string, status: number): Schema | null | undefined =>
    byName.get(operation)?.answers[status];

  return {
    match(method, path) {
      for (const { one, pattern, names, method: own } of patterns) {
        const found = own === method ? pattern.exec(path) : null;
        if (found === null) continue;
        const values = found.slice(1).map((value) => decodeURIComponent(value));
        return {
          operation: one.operation,
          parameters: Object.fromEntries(names.map((key, index) => [key, values[index] ?? ""])),
        };
      }
      return undefined;
    },
    wrongRequest(operation, query, body) {
      const about = byName.get(operation);
      if (about === undefined) return `${name} has no ${operation}`;
      for (const [key, text] of query) {
        const schema = about.query[key];
        if (schema === undefined) return `${name} ${operation} knows no '${key}'`;
        const isNumber = ["number", "integer"].includes(String(schema["type"]));
        const value = isNumber ? Number(text) : schema["type"] === "boolean" ? text === "true" : text;
        const why = wrong(`${operation} ?${key}`, schema, value);
        if (why !== "") return why;
      }
      if (about.body === undefined)
        return body === undefined || isEmpty(body) ? "" : `${name} ${operation} takes no body`;
      return wrong(`${operation} request`, about.body, body);
    },
    wrongAnswer(operation, status, body) {
      const schema = answerOf(operation, status);
      if (schema === undefined) return `${name} ${operation} does not answer ${status}`;
      if (schema === null) return body === undefined ? "" : `${name} ${operation} answers nothing`;
      return wrong(`${operation} ${status}`, schema, body);
    },
    filled(operation, status, given) {
      const schema = answerOf(operation, status);
      return schema === undefined || schema === null ? undefined : fill(schema, given, schemas);
    },
  };
}

function isEmpty(body: unknown): boolean {
  return typeof body === "object" && body !== null && Object.keys(body).length === 0;
}

/** Only the last parameter of a path may have slashes in it: a file, a ref. */
function patternOf(operation: string): { pattern: RegExp; names: readonly string[]; method: string } {
  const [method = "", path = ""] = operation.split(" ");
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, key = ""]) => key);
  const text = path
    .replace(/[.]/g, "\\.")
    .replace(/\{(?:path|filepath|ref)\}$/, "(.+)")
    .replace(/\{\w+\}/g, "([^/]+)");
  return { pattern: new RegExp(`^${text}$`), names, method };
}

function fill(schema: Schema, given: unknown, schemas: Readonly<Record<string, Schema>>): unknown {
  const reference = schema["$ref"];
  if (typeof reference === "string")
    return fill(schemas[reference.slice("#/$defs/".length)] ?? {}, given, schemas);
  const choices = schema["anyOf"];
  if (Array.isArray(choices)) return fill(choiceFor(choices as Schema[], given), given, schemas);
  const types = [schema["type"]].flat();
  if (given === null || (given === undefined && types.includes("null"))) return null;
  if (schema["properties"] !== undefined || types.includes("object"))
    return fillObject(schema, given, schemas);
  if (types.includes("array")) {
    const items = Array.isArray(given) ? given : [];
    return items.map((item) => fill((schema["items"] ?? {}) as Schema, item, schemas));
  }
  return given ?? madeUp(schema, types);
}

function fillObject(schema: Schema, given: unknown, schemas: Readonly<Record<string, Schema>>): unknown {
  if (given !== undefined && (typeof given !== "object" || Array.isArray(given))) return given;
  const properties = (schema["properties"] ?? {}) as Readonly<Record<string, Schema>>;
  const values = (given ?? {}) as Readonly<Record<string, unknown>>;
  const required = (schema["required"] ?? []) as readonly string[];
  const keys = new Set([...required, ...Object.keys(values).filter((key) => values[key] !== undefined)]);
  return Object.fromEntries(
    [...keys].map((key) => {
      const property = properties[key];
      return [key, property === undefined ? values[key] : fill(property, values[key], schemas)];
    }),
  );
}

/** A list for a list, anything else for anything else. */
function choiceFor(choices: readonly Schema[], given: unknown): Schema {
  const isList = Array.isArray(given);
  const none = choices.find((each) => each["type"] === "null");
  if (none !== undefined && (given === undefined || given === null)) return none;
  return (
    choices.find((each) => isList === (each["type"] === "array") && each["$ref"] === undefined) ??
    choices.find((each) => String(each["$ref"]).endsWith(isList ? "directory" : "file")) ??
    choices[0] ??
    {}
  );
}

function madeUp(schema: Schema, types: readonly unknown[]): unknown {
  const values = schema["enum"];
  if (Array.isArray(values)) return values[0];
  if (types.includes("boolean")) return false;
  if (types.includes("integer") || types.includes("number")) return 1;
  if (schema["format"] === "date-time") return "2026-01-02T03:04:05Z";
  if (schema["format"] === "uri") return "https://forge.example/made/up";
  return schema["format"] === "email" ? "made@up.example" : "made-up";
}
