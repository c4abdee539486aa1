/** How many commands of one user are at work or wait: each may hold a dyno of the whole system's. */
import { GitwharfError } from "../../base/errors.js";

export interface UserPlaces {
  /** @returns gives the place back (idempotent) @throws access/too-many-requests */
  enter(user: string | undefined): () => void;
}

export function createUserPlaces(max: number): UserPlaces {
  const places = new Map<string, number>();
  return {
    enter(user = "") {
      const taken = places.get(user) ?? 0;
      if (taken >= max)
        throw new GitwharfError(
          "access/too-many-requests",
          `${max} sessions of ${user} are at work already; try again in a moment`,
        );
      places.set(user, taken + 1);
      let hasLeft = false;
      return () => {
        if (hasLeft) return;
        hasLeft = true;
        const left = (places.get(user) ?? 0) - 1;
        if (left > 0) places.set(user, left);
        else places.delete(user);
      };
    },
  };
}
