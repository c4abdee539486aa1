/** Signatures of Standard Webhooks, with the example of its specification's libraries. */
import { describe, expect, it } from "vitest";
import { checkSecret, signMessage, verifyMessage } from "./message-signature.js";

const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const body = '{"test": 2432232314}';
const nowMs = 1_614_265_330_000;

describe("a signature", () => {
  it("is that of other libraries", () => {
    expect(signMessage([SECRET], { id: "msg_p5jXN8AQM9LWM0D4loKWxJek", body }, nowMs)).toEqual({
      "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
      "webhook-timestamp": "1614265330",
      "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    });
  });

  it("holds for its secret, one of several, and nothing that was changed", () => {
    const other = "another secret of ours";
    const headers = signMessage([SECRET, other], { id: "a", body }, nowMs);
    const verify = (secret: string | readonly string[], given = headers, text = body, at = nowMs): boolean =>
      verifyMessage(secret, { headers: given, body: text }, { nowMs: at });
    expect(verify(SECRET)).toBe(true);
    expect(verify(other)).toBe(true);
    expect(verify(["nobody knows this one", other])).toBe(true);
    expect(verify("nobody knows this one")).toBe(false);
    expect(verify(SECRET, headers, `${body} `)).toBe(false);
    expect(verify(SECRET, { ...headers, "webhook-id": "b" })).toBe(false);
    expect(verify(SECRET, { ...headers, "webhook-timestamp": "1614265331" })).toBe(false);
    expect(verify(SECRET, { ...headers, "webhook-signature": "" })).toBe(false);
    expect(verify(SECRET, {})).toBe(false);
    expect(verify(SECRET, headers, body, nowMs + 300_000)).toBe(true);
    expect(verify(SECRET, headers, body, nowMs + 301_000)).toBe(false);
    expect(verify(SECRET, headers, body, nowMs - 301_000)).toBe(false);
  });

  it("takes secrets that nobody guesses", () => {
    expect(checkSecret(SECRET)).toBeUndefined();
    expect(checkSecret("sixteen or more.")).toBeUndefined();
    for (const bad of ["short", "", "whsec_", "whsec_c2hvcnQ=", "whsec_not base64", 7, undefined])
      expect(checkSecret(bad)).toBeDefined();
  });
});
