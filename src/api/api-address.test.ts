import { describe, expect, it } from "vitest";
import { parseApiAddress } from "./api-address.js";

const kindOf = (url: string): string | undefined => {
  const address = parseApiAddress(url);
  return address?.kind === "repository" ? `repository ${address.id}` : address?.kind;
};

describe("an address", () => {
  it.each([
    ["/health", "health"],
    ["/health?verbose", "health"],
    ["/openapi.json", "openapi"],
    ["/repositories", "repositories"],
    ["/repositories?limit=2", "repositories"],
    ["/repositories/app", "repository app"],
    ["/repositories/group/app", "repository group/app"],
    ["/repositories/group%2Fapp", "repository group/app"],
    ["/repositories/app.git", "repository app.git"],
    ["/repositories/repositories", "repository repositories"],
    // Names that end as files of repositories do.
    ["/repositories/a%2FHEAD", "repository a/HEAD"],
    ["/repositories/info%2Frefs", "repository info/refs"],
    ["/repositories/", "repository undefined"],
    ["/repositories/%zz", "repository undefined"],
    [`/repositories/${"a".repeat(5000)}`, "repository undefined"],
  ])("%s is the API's", (url, kind) => {
    expect(kindOf(url)).toBe(kind);
  });

  it.each([
    "/repositories/app.git/info/refs?service=git-upload-pack",
    "/repositories/app.git/git-receive-pack",
    "/repositories/group/app.git/git-upload-pack",
    "/repositories/app/info/refs",
    "/repositories/app.git/HEAD",
    "/repositories/repositories.git/info/refs",
    "/repositories/repositories/app.git/info/refs",
  ])("%s is Git's, below it", (url) => {
    expect(kindOf(url)).toBe("git");
  });

  it.each([
    "/",
    "",
    "/app",
    "/app.git/info/refs",
    "/healthy",
    "/health/",
    "/health.git/info/refs",
    "/health/info/refs",
    "/openapi.json.git/info/refs",
    "/repositoriesx",
    // A repository of this name.
    "/repositories.git/info/refs",
    "/repositories.git/git-upload-pack",
    "/repositories/info/refs?service=git-upload-pack",
    "/repositories/git-upload-pack",
    "/repositories/HEAD",
    "/repositories/objects/info/packs",
  ])("%s is none of the API's", (url) => {
    expect(kindOf(url)).toBeUndefined();
  });
});
