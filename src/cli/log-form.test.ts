import { describe, expect, it } from "vitest";
import { formatLogEntry } from "./log-form.js";

const time = new Date(0);

describe("a line of the log", () => {
  it("is one line of text, whose values cannot look like other fields", () => {
    const fields = { user: "eve outcome=ok\n1970 info all good", repository: "team/app", address: undefined };
    expect(formatLogEntry("text", { level: "info", message: "GET /app 200", fields }, time)).toBe(
      '1970-01-01T00:00:00.000Z info GET /app 200 user="eve outcome=ok\\n1970 info all good" repository=team/app\n',
    );
  });

  it("is one line of text, whatever a client had run", () => {
    const message = "ssh id\n1970 info all good\u001b[31m 1";
    expect(formatLogEntry("text", { level: "info", message }, time)).toBe(
      "1970-01-01T00:00:00.000Z info ssh id?1970 info all good?[31m 1\n",
    );
  });

  it("is one object of JSON", () => {
    const error = new Error("no space");
    const line = formatLogEntry(
      "json",
      { level: "error", message: "m\n", error, fields: { bytesIn: 5 } },
      time,
    );
    expect(line?.split("\n")).toHaveLength(2);
    expect(JSON.parse(line ?? "")).toEqual({
      time: "1970-01-01T00:00:00.000Z",
      level: "error",
      message: "m\n",
      bytesIn: 5,
      error: error.stack,
    });
  });

  it("is not written for requests where none are wanted, and still for what went wrong", () => {
    expect(formatLogEntry("none", { level: "info", message: "x" }, time)).toBeUndefined();
    expect(formatLogEntry("none", { level: "warn", message: "x" }, time)).toContain("warn x");
  });
});
