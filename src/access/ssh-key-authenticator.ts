/** SSH keys that the database knows. The signature over the session has been verified before anybody asks here. */
import { timingSafeEqual } from "node:crypto";
import type { Identity } from "../engine/identity.js";
import type { Authenticator } from "./authenticator.js";
import { parseGrant } from "./grant.js";
import { createUseNotes, type StoredCredentialOptions } from "./token-authenticator.js";

export function createSshKeyAuthenticator(options: StoredCredentialOptions): Authenticator {
  const noteUse = createUseNotes(options);
  /** Those that were made here, with the key's blob. */
  const made = new WeakMap<Identity, string>();
  return {
    name: "ssh-key",
    async authenticate({ credentials }) {
      if (typeof credentials !== "object" || credentials.kind !== "ssh-key") return undefined;
      const { fingerprint, blob } = credentials;
      const store = await options.store();
      const key = await store?.findKey(fingerprint);
      // Not known here: a callback may know it, and an agent offers its keys one after the other.
      if (store === undefined || key === undefined) return undefined;
      const stored = Buffer.from(key.blob, "base64");
      if (stored.length !== blob.length || !timingSafeEqual(stored, blob))
        return { refused: "a key with the fingerprint of another one" };
      noteUse(fingerprint, () => store.touchKey(fingerprint));
      const grant = key.grant === undefined ? {} : { grant: parseGrant(key.grant, `key ${fingerprint}`) };
      const identity = { user: key.user, method: "ssh-key", credentialId: fingerprint, ...grant };
      made.set(identity, key.blob);
      return { identity };
    },
    async isCurrent(identity) {
      const blob = made.get(identity);
      if (blob === undefined || identity.credentialId === undefined) return undefined;
      const key = await (await options.store())?.findKey(identity.credentialId);
      return key?.blob === blob && key.user === identity.user;
    },
  };
}
