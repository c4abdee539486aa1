/**
 * How often somebody waits for a bucket: requests that are made while others are on their way go with them. A round begins
 * with a request and is answered when no more have joined it for a while; what depends on its answers is the next one.
 */
import type { Bucket } from "../../src/storage/object-store/bucket/bucket.js";
import { createFaultyBucket } from "./faulty-bucket.js";

export interface RoundsBucket extends Bucket {
  /** What each round asked for: `OPERATION KEY`. */
  rounds(): readonly (readonly string[])[];
  reset(): void;
}

/** Much longer than it takes to make requests that wait for nothing. */
const JOIN_MS = 150;

export function createRoundsBucket(bucket: Bucket): RoundsBucket {
  let rounds: string[][] = [];
  let open: { readonly asked: string[]; readonly answered: Promise<void>; answer(): void } | undefined;
  let timer: NodeJS.Timeout | undefined;
  const join = (text: string): Promise<void> => {
    if (open === undefined) {
      let answer = (): void => undefined;
      const answered = new Promise<void>((resolve) => {
        answer = resolve;
      });
      open = { asked: [], answered, answer };
      rounds.push(open.asked);
    }
    const { asked, answered, answer } = open;
    asked.push(text);
    clearTimeout(timer);
    timer = setTimeout(() => {
      open = undefined;
      answer();
    }, JOIN_MS);
    return answered;
  };
  const inRounds = createFaultyBucket(bucket, ({ operation, key }) => ({
    slow: join(`${operation} ${key}`),
  }));
  return {
    ...inRounds,
    rounds: () => rounds,
    reset() {
      rounds = [];
    },
  };
}
