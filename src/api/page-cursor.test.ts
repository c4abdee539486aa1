import { describe, expect, it } from "vitest";
import { isGitwharfError } from "../base/errors.js";
import { cursorBehind, readPageRequest } from "./page-cursor.js";

const read = (query: string): unknown => {
  try {
    return readPageRequest(new URLSearchParams(query));
  } catch (error) {
    return isGitwharfError(error) ? error.code : error;
  }
};

describe("what a page is asked by", () => {
  it("is a limit and where the page before ended", () => {
    expect(read("")).toEqual({ after: undefined, limit: 100 });
    expect(read("limit=1000")).toEqual({ after: undefined, limit: 1000 });
    expect(read(`cursor=${cursorBehind("group/app")}`)).toEqual({ after: "group/app", limit: 100 });
  });

  it.each([
    "limit=0",
    "limit=1001",
    "limit=-1",
    "limit=1e2",
    "limit=",
    "limit=ten",
    "limit=1&limit=2",
    "cursor=",
    "cursor=x",
    "cursor=group/app",
    `cursor=${cursorBehind("group/app")}AA`,
    `cursor=${cursorBehind("../etc")}`,
    `cursor=${Buffer.from("2:app").toString("base64url")}`,
    `cursor=${"A".repeat(100_000)}`,
    "page=2",
  ])("is nothing else: %s", (query) => {
    expect(read(query)).toBe("protocol/bad-request");
  });
});
