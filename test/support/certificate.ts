/** A self-signed certificate in files, as `listen({ tls })` takes them. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { generate } from "selfsigned";

export interface CertificateFiles {
  readonly certificateFile: string;
  readonly keyFile: string;
}

/** Writes `cert.pem` and `key.pem` into the directory, in place of those that stand there. */
export async function writeCertificate(
  directory: string,
  commonName = "localhost",
): Promise<CertificateFiles> {
  const certificateFile = join(directory, "cert.pem");
  const keyFile = join(directory, "key.pem");
  const pems = await generate([{ name: "commonName", value: commonName }], {
    keyType: "ec",
    algorithm: "sha256",
  });
  writeFileSync(certificateFile, pems.cert);
  writeFileSync(keyFile, pems.private);
  return { certificateFile, keyFile };
}
