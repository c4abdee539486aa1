/** Releases whose files another platform has made and keeps, and which it launches: the dynos of an Openruko. */

/** Stands where the path of a slug would. */
export const ELSEWHERE = "elsewhere:dyno";

export function isElsewhere({ slugPath }: { readonly slugPath: string }): boolean {
  return slugPath === ELSEWHERE;
}
