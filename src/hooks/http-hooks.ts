/**
 * Hooks that are asked over HTTP: before the objects of a push are published, by a signed POST with all its refs. Without an
 * answer that can be understood the push is refused. Specification: docs/hooks.md; signatures: base/message-signature.ts.
 */
import { randomUUID } from "node:crypto";
import { GitwharfError } from "../base/errors.js";
import { RequestFailed } from "../base/guarded-request.js";
import {
  createSignedEndpoint,
  ENDPOINT_KEYS,
  type EndpointOptions,
  type SignedEndpoint,
} from "../base/signed-endpoint.js";
import { compileWildmatch } from "../engine/fetch/wildmatch.js";
import type { Push, PushedRef, PushHandlers, Verdict } from "../engine/push.js";
import { isNullObjectId } from "../object/object-id.js";

/** What is asked of the url: whether a push may go on. */
export interface HttpHook extends EndpointOptions {
  /** Patterns of repository names: `team/app`, `team/**`. @default every repository */
  readonly repositories?: readonly string[];
  /** Further attempts, when there was no answer or one of 429 or 5xx. @default 2 */
  readonly retries?: number;
}

export interface HttpHookLog {
  (entry: { readonly level: "info" | "error"; readonly message: string }): void;
}

export interface ConfiguredHttpHooks {
  handlersFor(repository: string): readonly PushHandlers[];
}

const KEYS: readonly string[] = [...ENDPOINT_KEYS, "repositories", "retries"];
const RETRIES = 2;
const RETRIES_MAX = 10;
const ANSWER_BYTES_MAX = 65_536;
const REASON_LENGTH_MAX = 1000;
const MESSAGE_LENGTH_MAX = 16_384;
const PAUSE_MS = 100;
const OK = 200;
const TOO_MANY = 429;
const UNDECIDED = "the server could not ask whether you may push; try again later";

/** @throws server/bad-configuration */
export function createHttpHooks(
  given: unknown,
  { agent, log }: { readonly agent: string; readonly log: HttpHookLog },
): ConfiguredHttpHooks {
  const hooks: readonly unknown[] = given === undefined ? [] : [given].flat();
  const entries = hooks.map((one, i) => {
    const option = `httpHooks[${i}]`;
    if (!isRecord(one)) throw bad("httpHooks", "it is an object with a url and a secret, or a list of such");
    const odd = Object.keys(one).find((key) => !KEYS.includes(key));
    if (odd !== undefined) throw bad(option, `it has no '${odd}'; known are ${KEYS.join(", ")}`);
    const { retries = RETRIES } = one;
    if (typeof retries !== "number" || !Number.isInteger(retries) || retries < 0 || retries > RETRIES_MAX)
      throw bad(option, `retries is a whole number from 0 to ${RETRIES_MAX}`);
    const endpoint = createSignedEndpoint(option, one, { answerBytesMax: ANSWER_BYTES_MAX + 1, agent });
    const handler: PushHandlers = {
      preReceive: (push) => askHook(push, { endpoint, retries, log }),
    };
    return { handler, matches: matcherOf(option, one["repositories"]) };
  });
  return {
    handlersFor: (repository) =>
      entries.filter(({ matches }) => matches(repository)).map(({ handler }) => handler),
  };
}

interface Asked {
  readonly endpoint: SignedEndpoint;
  readonly retries: number;
  readonly log: HttpHookLog;
}

async function askHook(push: Push, { endpoint, retries, log }: Asked): Promise<Verdict> {
  const startedMs = performance.now();
  const what = `http hook ${endpoint.shownUrl}: a push to '${push.repository.name}'`;
  const since = (): string => `${Math.round(performance.now() - startedMs)} ms`;
  try {
    const answer = await ask(push, endpoint, retries);
    for (const [name, reason] of answer.refs)
      push.updates.find((update) => update.name === name)?.reject(reason);
    if (answer.message !== "") await push.print(`${answer.message.replace(/\n$/, "")}\n`);
    log({
      level: "info",
      message: `${what} was ${answer.refusal === undefined ? "allowed" : `refused: ${answer.refusal}`} (${since()})`,
    });
    return answer.refusal;
  } catch (error) {
    if (push.signal.aborted) throw error;
    const why = error instanceof Error ? error.message : String(error);
    log({ level: "error", message: `${what} was refused, because it gave no answer: ${why} (${since()})` });
    return UNDECIDED;
  }
}

async function ask(push: Push, endpoint: SignedEndpoint, retries: number): Promise<HookAnswer> {
  const body = JSON.stringify(await questionOf(push));
  for (let attempt = 0; ; attempt++) {
    let why: Error;
    try {
      // A new one each time: a hook that takes an id only once must still take a retry.
      const id = `hook_${randomUUID()}`;
      const { status, text, isCut } = await endpoint.post({ id, body, signal: push.signal });
      if (isCut) throw new HookFailure(`its answer is larger than ${ANSWER_BYTES_MAX} bytes`);
      if (status === OK) return readAnswer(text, push);
      if (status < 500 && status !== TOO_MANY)
        throw new HookFailure(`it answered with status ${status}, where only ${OK} is an answer`);
      why = new HookFailure(`it answered with status ${status}`);
    } catch (error) {
      if (!(error instanceof RequestFailed)) throw error;
      why = error;
    }
    if (attempt >= retries || push.signal.aborted) throw why;
    await pause(PAUSE_MS * 2 ** attempt * (0.75 + Math.random() * 0.5), push.signal);
  }
}

class HookFailure extends Error {
  override readonly name = "HookFailure";
}

async function questionOf(push: Push): Promise<unknown> {
  const { identity, repository, transport, address, requestId, options } = push;
  const refs: unknown[] = [];
  for (const update of push.updates) refs.push(await describeRef(update));
  return {
    version: 1,
    hook: "preReceive",
    repository: repository.name,
    identity: {
      user: identity.user ?? null,
      method: identity.method ?? null,
      credentialId: identity.credentialId ?? null,
      attributes: identity.attributes ?? {},
    },
    transport,
    address: address ?? null,
    requestId: requestId ?? null,
    options,
    refs,
  };
}

async function describeRef(update: PushedRef): Promise<unknown> {
  const { name, kind, shortName, oldOid, newOid, created, deleted } = update;
  return {
    name,
    kind,
    shortName,
    old: isNullObjectId(oldOid) ? null : oldOid,
    new: isNullObjectId(newOid) ? null : newOid,
    action: created ? "create" : deleted ? "delete" : (await update.forced()) ? "force" : "update",
  };
}

interface HookAnswer {
  readonly refusal: string | undefined;
  readonly refs: readonly (readonly [name: string, reason: string])[];
  /** For the pusher. */
  readonly message: string;
}

/** `{ allowed: true | false, reason?, refs?: { NAME: REASON }, message? }` */
function readAnswer(text: string, push: Push): HookAnswer {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new HookFailure("its answer is not JSON");
  }
  if (!isRecord(value)) throw new HookFailure("its answer is no object");
  const { allowed, reason, refs = {}, message = "" } = value;
  if (typeof allowed !== "boolean") throw new HookFailure("allowed is true or false, and it is neither");
  if (typeof message !== "string") throw new HookFailure("message is no text");
  if (!isRecord(refs)) throw new HookFailure("refs is no object of reasons");
  const refused = Object.entries(refs).map(([name, why]) => {
    if (!push.updates.some((update) => update.name === name))
      throw new HookFailure("refs names one that is not in the push");
    return [name, lineOf(why, "a reason in refs")] as const;
  });
  return {
    refusal: allowed ? undefined : lineOf(reason ?? "pre-receive hook declined", "reason"),
    refs: refused,
    message: message.slice(0, MESSAGE_LENGTH_MAX),
  };
}

/** A second line would break out of the report that the pusher's git reads. */
function lineOf(value: unknown, what: string): string {
  if (typeof value !== "string" || value.trim() === "") throw new HookFailure(`${what} is no text`);
  const [first = ""] = value.trim().split(/[\r\n]/, 1);
  return first.slice(0, REASON_LENGTH_MAX).replace(/[\0-\x1f\x7f-\x9f]/g, "?");
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const go = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", go);
      resolve();
    };
    const timer = setTimeout(go, ms);
    signal.addEventListener("abort", go, { once: true });
    if (signal.aborted) go();
  });
}

function matcherOf(option: string, patterns: unknown): (repository: string) => boolean {
  if (patterns === undefined) return () => true;
  if (!Array.isArray(patterns) || !patterns.every((each) => typeof each === "string" && each !== ""))
    throw bad(option, "repositories is a list of patterns");
  const bytes = (text: string): string => Buffer.from(text).toString("latin1");
  const compiled = patterns.map((pattern: string) => compileWildmatch(bytes(pattern), { path: true }));
  return (name) => compiled.some(({ matches }) => matches(bytes(name)));
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function bad(option: string, why: string): GitwharfError {
  return new GitwharfError("server/bad-configuration", `${option}: ${why}`);
}
