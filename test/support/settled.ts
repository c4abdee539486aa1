/** Waits until a server has no request at work: the last bytes of an answer are out a moment before that. */
export async function settled(server: { readonly active: number }): Promise<void> {
  for (let looks = 0; server.active > 0; looks++) {
    if (looks > 4000) throw new Error(`${server.active} requests are still at work`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
