import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

const MODULE = 'github.com/argoproj/argo-cd/v3';
/** The Argo CD whose custom resources imports/argoproj.io.js describes, and the checksum of its Go module. */
export const ARGOCD_VERSION = 'v3.6.1';
const CHECKSUM = 'h1:OmhqeKiR3C//awbFrhQqFdtRI+Qiv17j8vqm3UkMj/g=';

/** ApplicationSet is left out: its bindings are four times the others together. */
const FILES = ['application-crd.yaml', 'appproject-crd.yaml'];
const READ = 'import sys, zipfile; sys.stdout.write(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]).decode())';

interface Download {
  readonly Zip?: string;
  readonly Sum?: string;
  readonly Error?: string;
}

/**
 * Takes the CustomResourceDefinitions out of Argo CD's Go module. Needs Go; Go keeps the module in its cache.
 * @param python a Python interpreter, which reads the archive.
 * @returns each as YAML.
 */
export const argocdCrds = async (python: string): Promise<string[]> => {
  const download = ['mod', 'download', '-json', `${MODULE}@${ARGOCD_VERSION}`];
  // Go fails when the module wants a newer Go; the archive is there all the same.
  const { stdout } = await run('go', download).catch((failed: unknown) => {
    if (failed instanceof Error && 'stdout' in failed && failed.stdout !== '')
      return { stdout: String(failed.stdout) };
    throw failed;
  });
  const { Zip, Sum, Error: problem } = JSON.parse(stdout) as Download;
  if (Zip === undefined) throw new Error(`${MODULE} ${ARGOCD_VERSION} could not be downloaded: ${problem}`);
  if (Sum !== CHECKSUM)
    throw new Error(`${MODULE} ${ARGOCD_VERSION} has the checksum ${Sum}, not ${CHECKSUM}`);
  return Promise.all(
    FILES.map(async (file) => {
      const path = `${MODULE}@${ARGOCD_VERSION}/manifests/crds/${file}`;
      return (await run(python, ['-I', '-c', READ, Zip, path], { maxBuffer: 8 * 1024 * 1024 })).stdout;
    }),
  );
};
