/**
 * A key as JSON Web Key. Of one that this process has generated: Node can lock up for ever in `export` with
 * the JWK form when its garbage collector takes the generating job away meanwhile; what was read from bytes is safe.
 */
import { createPrivateKey, createPublicKey, type JsonWebKey, type KeyObject } from "node:crypto";

export function jwkOf(key: KeyObject): JsonWebKey {
  return key.type === "private"
    ? createPrivateKey({
        key: key.export({ format: "der", type: "pkcs8" }),
        format: "der",
        type: "pkcs8",
      }).export({ format: "jwk" })
    : createPublicKey({
        key: key.export({ format: "der", type: "spki" }),
        format: "der",
        type: "spki",
      }).export({ format: "jwk" });
}
