/**
 * Text without characters that nobody sees: they would hide an address from whoever looks for one, or carry a message of
 * their own. Lines end with a line feed, letters are composed (NFC).
 *
 * Joiners stay: words of several scripts, and signs made of others, need them.
 */
const HIDDEN =
  // Control characters but tab and line feed; soft hyphen, zero-width spaces, marks and embeddings of direction, invisible
  // operators, variation selectors beyond the usual ones, tag characters, private use.
  /\u034f|\u17b4|\u17b5|[\u180b-\u180f]|[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffc\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}\ue000-\uf8ff\u{f0000}-\u{10ffff}]/gu;

/** Beside a Latin letter or a sign none is needed. */
const NEEDLESS_JOINERS = /(?<=[\x21-\x7e])[\u200c\u200d]+|[\u200c\u200d]+(?=[\x21-\x7e])/g;

export function withoutHiddenCharacters(text: string): string {
  return text.replace(/\r\n?/g, "\n").replace(HIDDEN, "").replace(NEEDLESS_JOINERS, "").normalize("NFC");
}
