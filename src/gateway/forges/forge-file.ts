/** A file in an answer: in base 64, with its size. GitHub, GitLab and Gitea say it in the same words. */
import { GitwharfError } from "../../base/errors.js";
import { Answer } from "./read-answer.js";

/** @returns undefined: a directory, a link, a submodule */
export function readContent(value: unknown, bytesMax: number): Buffer | undefined {
  const file = new Answer(value, "file");
  if (file.has("type") && file.text("type") !== "file") return undefined;
  if (file.count("size") > bytesMax)
    throw new GitwharfError(
      "forge/bad-answer",
      `a file has ${file.count("size")} bytes; ${bytesMax} are read`,
    );
  if (file.text("encoding") !== "base64")
    throw new GitwharfError("forge/bad-answer", "a forge's answer is not what its API says: 'file.encoding'");
  const content = Buffer.from(file.text("content"), "base64");
  if (content.length > bytesMax)
    throw new GitwharfError("forge/bad-answer", `a file has more than the ${bytesMax} bytes that are read`);
  return content;
}
