/**
 * Which texts can be ref names. Specification: git-check-ref-format.
 */

/** The refs that stand outside of `refs/`: upper-case letters, `-` and `_`. */
const ONE_LEVEL = /^[A-Z][A-Z_-]*$/;

/**
 * @param options.oneLevel accept names without a slash (`HEAD`) @default false
 * @returns why it cannot be one; undefined when it can
 */
export function checkRefName(
  name: string,
  options: { readonly oneLevel?: boolean } = {},
): string | undefined {
  if (name === "") return "it is empty";
  if (name.length > 4096) return "it is too long";
  if (/[\0-\x20\x7f~^:?*[\\]/.test(name))
    return "it has a space, a control character or one of ~ ^ : ? * [ \\";
  if (name.includes("..")) return "it has two dots in a row";
  if (name.includes("@{")) return "it has '@{'";
  if (name === "@") return "it is '@'";
  if (name.endsWith(".")) return "it ends in a dot";
  const components = name.split("/");
  if (components.includes("")) return "it has an empty component";
  if (components.some((component) => component.startsWith("."))) return "a component begins with a dot";
  if (components.some((component) => component.endsWith(".lock"))) return "a component ends in '.lock'";
  // Bytes that were no UTF-8 would become another name than the client meant.
  if (name.includes("\ufffd")) return "it is not UTF-8";
  if (components.length < 2 && !(options.oneLevel === true && ONE_LEVEL.test(name))) return "it has no slash";
  return undefined;
}
