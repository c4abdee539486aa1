/** Two signals as one, which leaves nothing in the one that lives on. */
import { getEventListeners } from "node:events";
import { expect, it } from "vitest";
import { linkSignals } from "./linked-signal.js";

it("fires with the first of them, with its reason", () => {
  for (const which of [0, 1]) {
    const both = [new AbortController(), new AbortController()] as const;
    const { signal } = linkSignals(both[0].signal, both[1].signal);
    expect(signal.aborted).toBe(false);
    both[which]?.abort("why");
    both[1 - which]?.abort("later");
    expect([signal.aborted, signal.reason]).toEqual([true, "why"]);
  }
});

it("has fired when one of them has", () => {
  const never = new AbortController().signal;
  expect(linkSignals(AbortSignal.abort("own"), never).signal.reason).toBe("own");
  expect(linkSignals(never, AbortSignal.abort("long")).signal.reason).toBe("long");
});

it("leaves nothing behind once it is released", () => {
  const long = new AbortController();
  const own = new AbortController();
  const { signal, release } = linkSignals(own.signal, long.signal);
  expect(getEventListeners(long.signal, "abort")).toHaveLength(1);
  release();
  expect(getEventListeners(long.signal, "abort")).toEqual([]);
  long.abort();
  expect(signal.aborted).toBe(false);
  own.abort("own");
  expect(signal.reason).toBe("own");
});
