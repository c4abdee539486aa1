/** Access tokens that the database knows by their hash. */
import { LRUCache } from "lru-cache";
import type { MaybePromise } from "../base/maybe-promise.js";
import type { AccessStore } from "../database/access-store.js";
import { hashAccessToken, isAccessToken, looksLikeAccessToken } from "./access-token.js";
import type { Authenticator } from "./authenticator.js";
import { tokenTexts } from "./credential-texts.js";
import { parseGrant } from "./grant.js";

/** The use of a credential is noted no more often. */
export const TOUCHED_EVERY_MS = 60_000;
const TOUCHED_MAX = 10_000;

export interface StoredCredentialOptions {
  /** undefined while there is no database. */
  readonly store: () => MaybePromise<AccessStore | undefined>;
  /** That the use of a credential could not be noted. */
  readonly onFailure: (error: unknown) => void;
}

export function createTokenAuthenticator(options: StoredCredentialOptions): Authenticator {
  const noteUse = createUseNotes(options);
  return {
    name: "token",
    async authenticate({ credentials }) {
      const text = tokenTexts(credentials).find(looksLikeAccessToken);
      if (text === undefined) return undefined;
      if (!isAccessToken(text)) return { refused: "a token that is not whole" };
      const store = await options.store();
      const token = await store?.findToken(hashAccessToken(text));
      if (store === undefined || token === undefined) return { refused: "a token that is not known" };
      if (token.expiresAt !== undefined && token.expiresAt <= Date.now())
        return { refused: `token ${token.id} has expired` };
      noteUse(token.id, () => store.touchToken(token.id));
      const grant = parseGrant(token.grant, `token ${token.id}`);
      return {
        identity: {
          user: token.user,
          method: "token",
          credentialId: token.id,
          grant: { ...grant, ...(token.expiresAt === undefined ? {} : { expiresAt: token.expiresAt }) },
        },
      };
    },
  };
}

/** Notes a use beside the request, which does not wait for it. */
export function createUseNotes({
  onFailure,
}: Pick<StoredCredentialOptions, "onFailure">): (id: string, note: () => Promise<void>) => void {
  const noted = new LRUCache<string, true>({ max: TOUCHED_MAX, ttl: TOUCHED_EVERY_MS });
  return (id, note) => {
    if (noted.get(id) === true) return;
    noted.set(id, true);
    note().catch(onFailure);
  };
}
