/**
 * What is wrong with a value by a schema of an OpenAPI 3.1 description: the part of JSON Schema that ours uses. A keyword
 * that is not known here is an error, so that none is passed over.
 */
export type Schema = Readonly<Record<string, unknown>>;

const WITHOUT_MEANING = new Set(["description", "default", "summary", "title"]);

/** @returns "" when it fits */
export function whatIsWrong(value: unknown, schema: Schema, root: Schema, at = "$"): string {
  for (const [keyword, wanted] of Object.entries(schema)) {
    const why = WITHOUT_MEANING.has(keyword) ? "" : look(value, { keyword, wanted, schema, root, at });
    if (why !== "") return why;
  }
  return "";
}

interface Look {
  readonly keyword: string;
  readonly wanted: unknown;
  readonly schema: Schema;
  readonly root: Schema;
  readonly at: string;
}

function look(value: unknown, { keyword, wanted, schema, root, at }: Look): string {
  const say = (isGood: boolean): string =>
    isGood ? "" : `${at} is not as ${keyword} says: ${JSON.stringify(value)}`;
  const members = isRecord(value) ? Object.entries(value) : [];
  switch (keyword) {
    case "$ref":
      return whatIsWrong(value, resolve(root, String(wanted)), root, at);
    case "type":
      return say(
        [wanted]
          .flat()
          .some((type) => type === (Number.isInteger(value) && type === "integer" ? type : typeOf(value))),
      );
    case "const":
      return say(value === wanted);
    case "enum":
      return say((wanted as readonly unknown[]).includes(value));
    case "pattern":
      return say(typeof value !== "string" || new RegExp(String(wanted), "u").test(value));
    case "format":
      return say(wanted === "uuid" && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(String(value)));
    case "minLength":
      return say(typeof value !== "string" || value.length >= Number(wanted));
    case "maxProperties":
      return say(members.length <= Number(wanted));
    case "required":
      return say(!isRecord(value) || (wanted as readonly string[]).every((key) => key in value));
    case "items":
      return first(Array.isArray(value) ? value : [], (each, i) =>
        whatIsWrong(each, wanted as Schema, root, `${at}[${i}]`),
      );
    case "properties":
      return first(members, ([key, each]) => {
        const member = (wanted as Readonly<Record<string, Schema>>)[key];
        return member === undefined ? "" : whatIsWrong(each, member, root, `${at}.${key}`);
      });
    case "additionalProperties": {
      const known = Object.keys((schema["properties"] ?? {}) as Schema);
      const more = members.filter(([key]) => !known.includes(key));
      if (wanted === false) return say(more.length === 0);
      return first(more, ([key, each]) => whatIsWrong(each, wanted as Schema, root, `${at}.${key}`));
    }
    case "oneOf": {
      const why = (wanted as readonly Schema[]).map((one) => whatIsWrong(value, one, root, at));
      const fitting = why.filter((each) => each === "").length;
      return fitting === 1 ? "" : `${at} fits ${fitting} of oneOf: ${why.join("; ")}`;
    }
    default:
      throw new Error(`the schema at ${at} has '${keyword}', which is not known here`);
  }
}

function first<T>(list: readonly T[], ask: (each: T, index: number) => string): string {
  return list.map(ask).find((why) => why !== "") ?? "";
}

function resolve(root: Schema, reference: string): Schema {
  const found = reference
    .replace(/^#\//, "")
    .split("/")
    .reduce<unknown>((at, key) => (isRecord(at) ? at[key] : undefined), root);
  if (!isRecord(found)) throw new Error(`nothing is at ${reference}`);
  return found;
}

function typeOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  return typeof value;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
