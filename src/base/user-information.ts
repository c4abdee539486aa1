/**
 * `https://ada:secret@host/app` → `https://host/app`, in any text that quotes what somebody has written: a name in front of
 * an @ may be followed by a password, wherever it stands.
 */
export function withoutUserInformation(text: string): string {
  if (!text.includes("@")) return text;
  return text.replaceAll(/[^\s'"/]+/g, (word) => {
    const at = word.lastIndexOf("@");
    return word.slice(0, Math.max(0, at)).includes(":") ? word.slice(at + 1) : word;
  });
}
