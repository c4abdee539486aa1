/** Reads what the application answered, every member looked at: what is not understood opens nothing. */
import { isGitwharfError } from "../../base/errors.js";
import type { AuthorizationAnswer } from "../../engine/authorization.js";
import type { Grant, Identity } from "../../engine/identity.js";
import { checkGrant } from "../grant.js";
import { isUserName, USER_NAME_RULE } from "../user-name.js";
import { RemoteFailure } from "./remote-failure.js";

const TEXT_LENGTH_MAX = 1000;
const ATTRIBUTES_MAX = 100;
const ANSWERS = ["forbid", "hide", "challenge"] as const;

/** `{ identity: { user, credentialId?, grant?, attributes? } }` or `{ refused: "reason" }` */
export function readAuthenticateAnswer(value: unknown): { identity: Identity } | { refused: string } {
  const answer = recordOf(value, "the answer");
  if (answer["refused"] !== undefined) {
    if (answer["identity"] !== undefined) throw wrong("it both refuses and names an identity");
    return { refused: lineOf(answer["refused"], "refused") };
  }
  const { user, credentialId, grant, attributes } = recordOf(answer["identity"], "identity");
  if (typeof user !== "string" || !isUserName(user)) throw wrong(`identity.user is wrong: ${USER_NAME_RULE}`);
  return {
    identity: {
      user,
      method: "remote",
      ...(credentialId === undefined ? {} : { credentialId: lineOf(credentialId, "identity.credentialId") }),
      ...(grant === undefined ? {} : { grant: grantOf(grant) }),
      ...(attributes === undefined ? {} : { attributes: attributesOf(attributes) }),
    },
  };
}

/** `{ allowed: true }` or `{ allowed: false, reason, answer? }` */
export function readAuthorizeAnswer(value: unknown): AuthorizationAnswer {
  const { allowed, reason, answer } = recordOf(value, "the answer");
  if (allowed === true) return { allowed };
  if (allowed !== false) throw wrong("allowed is neither true nor false");
  const known = ANSWERS.find((each) => each === answer);
  if (answer !== undefined && known === undefined) throw wrong(`answer is none of ${ANSWERS.join(", ")}`);
  return {
    allowed,
    reason: lineOf(reason, "reason"),
    ...(known === undefined ? {} : { answer: known }),
  };
}

/** `{ repository: "name" }`, `{ fullPath: "/…" }` or `{ unknown: true }` */
export function readResolveAnswer(
  value: unknown,
): { readonly repository: string } | { readonly fullPath: string } | undefined {
  const { repository, fullPath, unknown } = recordOf(value, "the answer");
  const said = [repository, fullPath, unknown].filter((each) => each !== undefined);
  if (said.length !== 1) throw wrong("it is none of repository, fullPath and unknown, or more than one");
  if (unknown === true) return undefined;
  if (typeof repository === "string") return { repository };
  if (typeof fullPath === "string") return { fullPath };
  throw wrong("repository and fullPath are texts, and unknown is true");
}

function grantOf(value: unknown): Grant {
  try {
    return checkGrant(value, "the identity");
  } catch (error) {
    throw isGitwharfError(error) ? wrong(error.message) : error;
  }
}

function attributesOf(value: unknown): Readonly<Record<string, string>> {
  const entries = Object.entries(recordOf(value, "identity.attributes"));
  if (entries.length > ATTRIBUTES_MAX) throw wrong(`identity.attributes has more than ${ATTRIBUTES_MAX}`);
  return Object.fromEntries(entries.map(([name, each]) => [name, lineOf(each, "an attribute")]));
}

/** One line that may be shown to a person: a second one would break out of the protocol's report. */
function lineOf(value: unknown, what: string): string {
  if (typeof value !== "string" || value.trim() === "") throw wrong(`${what} is no text`);
  const [first = ""] = value.trim().split(/[\r\n]/, 1);
  return first.slice(0, TEXT_LENGTH_MAX).replace(/[\0-\x1f\x7f-\x9f]/g, "?");
}

function recordOf(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw wrong(`${what} is no object`);
  return value as Readonly<Record<string, unknown>>;
}

function wrong(why: string): RemoteFailure {
  return new RemoteFailure(`its answer cannot be understood: ${why}`);
}
