/** What a user may be called: one word that is safe in a log, a header, an environment and a command line. */
const USER_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,127}$/;

export function isUserName(text: string): boolean {
  return USER_NAME.test(text);
}

export const USER_NAME_RULE =
  "a user's name is 1 to 128 letters, digits, '_', '.', '@', '+' and '-', and begins with a letter, a digit or '_'";
