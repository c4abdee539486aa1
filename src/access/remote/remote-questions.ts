/** What the application is asked, as JSON. Specification: docs/remote-contract.openapi.json */
import type { AuthorizationRequest } from "../../engine/authorization.js";
import type { Identity, RefAction } from "../../engine/identity.js";
import type { PushCommand } from "../../engine/push.js";
import type { Credentials } from "../credentials.js";
import { possibleActions } from "../ref-rules.js";
import type { ResolveRequest } from "../repository-resolver.js";

export interface RemoteCallerOfGit {
  readonly address: string | undefined;
  readonly transport: AuthorizationRequest["transport"];
}

export function authenticateQuestion(
  credentials: Credentials,
  { address, transport }: RemoteCallerOfGit,
): string {
  return JSON.stringify({
    version: 1,
    credentials: describeCredentials(credentials),
    address: address ?? null,
    transport,
  });
}

/**
 * All refs of a push in one question.
 * @param actions without them the objects are not there yet, and what is told as an update may be a forced one
 */
export function authorizeQuestion(
  request: AuthorizationRequest,
  actions?: ReadonlyMap<PushCommand, RefAction>,
): string {
  const { identity, repository, operation, commands, address, transport } = request;
  return JSON.stringify({
    version: 1,
    identity: describeIdentity(identity),
    repository,
    operation,
    ...(commands === undefined
      ? {}
      : {
          refs: commands.map((command) => ({
            name: command.name,
            old: command.oldOid,
            new: command.newOid,
            action: actions?.get(command) ?? possibleActions(command)[0] ?? "update",
          })),
        }),
    address: address ?? null,
    transport,
  });
}

export function resolveQuestion(name: string, request: ResolveRequest): string {
  const { identity, operation, address, transport } = request;
  return JSON.stringify({
    version: 1,
    identity: describeIdentity(identity),
    name,
    operation,
    address: address ?? null,
    transport,
  });
}

function describeIdentity({ user, method, credentialId, attributes }: Identity): unknown {
  return {
    user: user ?? null,
    method: method ?? null,
    credentialId: credentialId ?? null,
    attributes: attributes ?? {},
  };
}

function describeCredentials(credentials: Credentials): unknown {
  switch (credentials.kind) {
    case "basic":
      return { kind: "basic", user: credentials.user, password: credentials.password };
    case "bearer":
      return { kind: "bearer", token: credentials.token };
    case "ssh-key":
    case "ssh-certificate": {
      const { kind, user, algorithm, fingerprint, md5, line } = credentials;
      const principal = kind === "ssh-certificate" ? { principal: credentials.principal } : {};
      return { kind, user, algorithm, fingerprint, md5, key: line, ...principal };
    }
  }
}
