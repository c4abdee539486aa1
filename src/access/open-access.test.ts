import { describe, expect, it } from "vitest";
import { isLoopbackHostHeader } from "./open-access.js";

describe("isLoopbackHostHeader", () => {
  it.each([
    "localhost",
    "localhost:5000",
    "app.localhost:1",
    "127.0.0.1:5000",
    "127.9.9.9",
    "[::1]:5000",
    "[::1]",
    "LOCALHOST.",
    "localhost.",
  ])("takes %s", (header) => expect(isLoopbackHostHeader(header)).toBe(true));
  it.each([
    undefined,
    "",
    "example.org",
    "localhost.example.org",
    "127.0.0.1.example.org",
    "1.2.3.4",
    "[::2]",
    "evil@localhost",
    "localhost:5000:1",
    "127.0.0.1 evil",
    "0.0.0.0",
  ])("refuses %s", (header) => expect(isLoopbackHostHeader(header)).toBe(false));
});
