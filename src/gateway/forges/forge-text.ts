/** Titles and bodies as forges take them; longer ones are cut, not refused. */
const TITLE_MAX = 255;
const BODY_MAX = 65_000;
const CUT = "…";

/** One line. */
export function forgeTitle(text: string): string {
  return cut(text.replace(/\s+/g, " ").trim(), TITLE_MAX);
}

export function forgeBody(text: string): string {
  return cut(text, BODY_MAX);
}

/** By code points: half a character is none. */
function cut(text: string, max: number): string {
  if (text.length <= max) return text;
  const kept = text.slice(0, max - CUT.length);
  return `${/[\ud800-\udbff]$/.test(kept) ? kept.slice(0, -1) : kept}${CUT}`;
}
