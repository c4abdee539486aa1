/** SSH keys that the database knows. The signature over the session has been verified before anybody asks here. */
import { timingSafeEqual } from "node:crypto";
import type { Authenticator } from "./authenticator.js";
import { parseGrant } from "./grant.js";
import { createUseNotes, type StoredCredentialOptions } from "./token-authenticator.js";

export function createSshKeyAuthenticator(options: StoredCredentialOptions): Authenticator {
  const noteUse = createUseNotes(options);
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
      const identity = { user: key.user, method: "ssh-key", credentialId: fingerprint };
      if (key.grant === undefined) return { identity };
      return { identity: { ...identity, grant: parseGrant(key.grant, `key ${fingerprint}`) } };
    },
  };
}
