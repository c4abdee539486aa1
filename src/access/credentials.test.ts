import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseAuthorizationHeader } from "./credentials.js";

const basic = (text: string): string => `Basic ${Buffer.from(text).toString("base64")}`;

describe("parseAuthorizationHeader", () => {
  it("reads Basic and Bearer", () => {
    expect(parseAuthorizationHeader(undefined)).toBeUndefined();
    expect(parseAuthorizationHeader(basic("ada:a:b"))).toEqual({
      kind: "basic",
      user: "ada",
      password: "a:b",
    });
    expect(parseAuthorizationHeader("bearer abc.def")).toEqual({ kind: "bearer", token: "abc.def" });
  });
  it.each([
    basic(":"),
    basic("ada"),
    basic("ada\n:x"),
    "Basic",
    "Basic ???",
    "Digest x",
    "Bearer",
    "Bearer a b",
  ])("calls %s malformed", (header) => expect(parseAuthorizationHeader(header)).toBe("malformed"));
  it("never throws", () => {
    fc.assert(fc.property(fc.string(), (header) => void parseAuthorizationHeader(header)));
  });
});
