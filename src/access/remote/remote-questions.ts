/** What the application is asked, as JSON. Specification: docs/remote-contract.openapi.json */
import type { AuthorizationRequest } from "../../engine/authorization.js";
import type { Credentials } from "../credentials.js";
import { possibleActions } from "../ref-rules.js";

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

/** All refs of a push in one question. What is an update may be a forced one: the objects are not there yet. */
export function authorizeQuestion(request: AuthorizationRequest): string {
  const { identity, repository, operation, commands, address, transport } = request;
  const { user, method, credentialId, attributes } = identity;
  return JSON.stringify({
    version: 1,
    identity: {
      user: user ?? null,
      method: method ?? null,
      credentialId: credentialId ?? null,
      attributes: attributes ?? {},
    },
    repository,
    operation,
    ...(commands === undefined
      ? {}
      : {
          refs: commands.map((command) => ({
            name: command.name,
            old: command.oldOid,
            new: command.newOid,
            action: possibleActions(command)[0] ?? "update",
          })),
        }),
    address: address ?? null,
    transport,
  });
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
