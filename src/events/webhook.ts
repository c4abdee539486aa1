/**
 * Webhooks: addresses that are told of events by signed POSTs. Specification: Standard Webhooks 1.0; docs/events.md.
 */
import { GitwharfError } from "../base/errors.js";
import {
  createSignedEndpoint,
  ENDPOINT_KEYS,
  type EndpointOptions,
  type SignedEndpoint,
} from "../base/signed-endpoint.js";
import { webhookTarget } from "../database/delivery-store.js";
import { compileWildmatch } from "../engine/fetch/wildmatch.js";
import { DeliveryRefused, type DeliveryTarget } from "./delivery-queue.js";
import { describeEvent, EVENT_TYPES, type EventType, type RefEvent } from "./event.js";

export interface WebhookOptions extends EndpointOptions {
  /** By which its deliveries are known, also when its url changes. */
  readonly name: string;
  /** Patterns of repository names: `team/app`, `team/**`. @default every repository */
  readonly repositories?: readonly string[];
  /** Patterns of full ref names: `refs/heads/main`, `refs/tags/**`. @default every ref */
  readonly refs?: readonly string[];
  /** @default all of them */
  readonly events?: readonly EventType[];
  /** false: it is told nothing, and of what happens meanwhile later. @default true */
  readonly active?: boolean;
  /** Then a delivery is put aside, and the next one comes. @default 16 */
  readonly attemptsMax?: number;
  /** The longest pause between two attempts; they begin at a second, and double. @default 3,600 */
  readonly pauseSecondsMax?: number;
}

export interface Webhook {
  readonly name: string;
  readonly url: string;
  readonly isActive: boolean;
  readonly target: DeliveryTarget;
  /** Tells it something that has not happened. @returns the status. @throws DeliveryRefused, RequestFailed */
  test(): Promise<number>;
}

const KEYS: readonly string[] = [
  ...ENDPOINT_KEYS,
  "name",
  "repositories",
  "refs",
  "events",
  "active",
  "attemptsMax",
  "pauseSecondsMax",
];
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const ATTEMPTS_MAX = 16;
const ATTEMPTS_MAX_MAX = 1000;
const PAUSE_SECONDS_MAX = 3600;
const DAY_SECONDS = 86_400;
const FIRST_PAUSE_MS = 1000;
const WEBHOOKS_MAX = 1000;
/** Nobody reads them; a status is the answer. */
const ANSWER_BYTES_MAX = 4096;
const GONE = 410;

/** @throws server/bad-configuration */
export function createWebhooks(given: unknown, agent: string): readonly Webhook[] {
  if (given === undefined) return [];
  if (!Array.isArray(given) || given.length > WEBHOOKS_MAX)
    throw bad("webhooks", `it is a list of up to ${WEBHOOKS_MAX} objects`);
  const webhooks = given.map((one: unknown) => createWebhook(one, agent));
  const names = webhooks.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw bad("webhooks", `two are named '${twice}'`);
  return webhooks;
}

function createWebhook(given: unknown, agent: string): Webhook {
  if (!isRecord(given)) throw bad("webhooks", "each of them is an object");
  const { name } = given;
  if (typeof name !== "string" || !NAME.test(name))
    throw bad("webhooks", "each has a name of up to 64 letters, digits, '.', '_' and '-'");
  const option = `webhooks (${name})`;
  const odd = Object.keys(given).find((key) => !KEYS.includes(key));
  if (odd !== undefined) throw bad(option, `it has no '${odd}'; known are ${KEYS.join(", ")}`);
  const { active = true } = given;
  if (typeof active !== "boolean") throw bad(option, "active is true or false");
  const takesRepository = matcherOf(option, "repositories", given["repositories"]);
  const takesRef = matcherOf(option, "refs", given["refs"]);
  const types = typesOf(option, given["events"]);
  const endpoint = createSignedEndpoint(option, given, { answerBytesMax: ANSWER_BYTES_MAX, agent });
  const pauseMsMax =
    1000 *
    numberOf(option, given, { key: "pauseSecondsMax", preset: PAUSE_SECONDS_MAX, min: 1, max: DAY_SECONDS });
  const attemptsMax = numberOf(option, given, {
    key: "attemptsMax",
    preset: ATTEMPTS_MAX,
    min: 1,
    max: ATTEMPTS_MAX_MAX,
  });
  return {
    name,
    url: endpoint.shownUrl,
    isActive: active,
    target: {
      name: webhookTarget(name),
      title: `webhook ${name}`,
      timeoutMs: endpoint.timeoutMs,
      firstPauseMs: FIRST_PAUSE_MS,
      pauseMsMax,
      attemptsMax,
      keepsRecords: true,
      takesRepository,
      takes: (event) => takesRef(event.refName) && types.has(describeEvent(event).type),
      async deliver(event, signal) {
        const described = describeEvent(event);
        const body = bodyOf(described.type, described.time, described);
        return send(endpoint, { id: described.id, body, signal });
      },
    },
    test() {
      const time = new Date().toISOString();
      return send(endpoint, { id: `test_${Date.now()}`, body: bodyOf("test", time, { webhook: name }) });
    },
  };
}

function bodyOf(type: EventType | "test", timestamp: string, data: RefEvent | object): string {
  return JSON.stringify({ type, timestamp, data });
}

/** @throws DeliveryRefused, RequestFailed */
async function send(
  endpoint: SignedEndpoint,
  message: Parameters<SignedEndpoint["post"]>[0],
): Promise<number> {
  const { status } = await endpoint.post(message);
  if (status >= 200 && status < 300) return status;
  throw new DeliveryRefused(`it answered with status ${status}`, { status, isFinal: status === GONE });
}

function matcherOf(option: string, key: string, patterns: unknown): (name: string) => boolean {
  if (patterns === undefined) return () => true;
  if (!Array.isArray(patterns) || !patterns.every((each) => typeof each === "string" && each !== ""))
    throw bad(option, `${key} is a list of patterns`);
  const bytes = (text: string): string => Buffer.from(text).toString("latin1");
  const compiled = patterns.map((pattern: string) => compileWildmatch(bytes(pattern), { path: true }));
  return (name) => compiled.some(({ matches }) => matches(bytes(name)));
}

function typesOf(option: string, given: unknown): ReadonlySet<string> {
  if (given === undefined) return new Set(EVENT_TYPES);
  if (!Array.isArray(given) || !given.every((each) => EVENT_TYPES.some((type) => type === each)))
    throw bad(option, `events is a list of ${EVENT_TYPES.join(", ")}`);
  return new Set(given as readonly string[]);
}

function numberOf(
  option: string,
  given: Readonly<Record<string, unknown>>,
  { key, preset, min, max }: { readonly key: string } & Readonly<Record<"preset" | "min" | "max", number>>,
): number {
  const value = given[key] ?? preset;
  if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max)
    throw bad(option, `${key} is a whole number from ${min} to ${max}`);
  return value;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function bad(option: string, why: string): GitwharfError {
  return new GitwharfError("server/bad-configuration", `${option}: ${why}`);
}
