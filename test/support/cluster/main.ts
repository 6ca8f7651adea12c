/** `npm run cluster`: keeps a cluster up until Ctrl-C or until its standard input ends, then removes it. */
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { messageOf } from '../../../controller/errors.ts';
import { startCluster, type Cluster } from './cluster.ts';
import type { ClusterFacts } from './facts.ts';
import { SIMULATED } from './simulated-nodes.ts';

const HELP = `Starts Kubernetes on this machine and keeps it up until Ctrl-C or the end of its standard input; then
nothing of it is left. What it is made of is built the first time (Go; about a quarter of an hour).

  npm run cluster -- [options]

  --control-plane-only   no node: nothing runs, but everything is checked; does not need root
  --simulated-nodes N    nodes that only pretend to run pods: label and taint ${SIMULATED}=true
  --json                 one line of JSON on standard output when it is ready: kubeconfig, kubectl, auditLog,
                         nodeAddress, loadImage (command line; append the name of an image)
  --help
`;
/** Exit code for "this machine lacks something", as the CLI has it. */
const UNAVAILABLE = 5;

const { values } = parseArgs({
  options: {
    'control-plane-only': { type: 'boolean', default: false },
    'simulated-nodes': { type: 'string', default: '0' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
const simulatedNodes = Number(values['simulated-nodes']);
if (values.help) process.stdout.write(HELP);
else if (!Number.isSafeInteger(simulatedNodes) || simulatedNodes < 0) {
  process.stderr.write(
    `--simulated-nodes "${values['simulated-nodes']}" is not a number of nodes: 0, 1, 2 …\n`,
  );
  process.exitCode = 2;
} else await run();

async function run(): Promise<void> {
  const log = (message: string): void => void process.stderr.write(`cluster: ${message}\n`);
  const ended = endOfUse();
  try {
    const started = await startCluster({ withNode: !values['control-plane-only'], simulatedNodes, log });
    if ('missing' in started) {
      log(started.missing);
      process.exitCode = UNAVAILABLE;
    } else await use(started.value, ended, log);
  } catch (error) {
    log(messageOf(error));
    process.exitCode = 1;
  }
  // Standard input would keep the process alive.
  process.stdin.destroy();
}

async function use(cluster: Cluster, ended: Promise<unknown>, log: (message: string) => void): Promise<void> {
  // A reader that has gone away is the end of its input as well.
  process.stdout.on('error', () => undefined);
  process.stdout.write(values.json ? `${JSON.stringify(cluster.facts)}\n` : description(cluster.facts));
  await ended;
  log('stopping');
  await cluster.stop();
}

async function endOfUse(): Promise<void> {
  const signals = (['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map((signal) => once(process, signal));
  // A terminal's input is read too: Ctrl-D ends it.
  process.stdin.resume();
  await Promise.race([once(process.stdin, 'end'), once(process.stdin, 'close'), ...signals]);
}

function description({ kubeconfig, kubectl, nodeAddress, loadImage }: ClusterFacts): string {
  return [
    'The cluster is up. Ctrl-C removes it.',
    '',
    `  export KUBECONFIG=${kubeconfig}`,
    `  alias kubectl='${kubectl.join(' ')}'`,
    ...(nodeAddress === null ? [] : [`  pods see this machine as ${nodeAddress}`]),
    ...(loadImage === null ? [] : ['  to use an image of your container engine (DOCKER_HOST) in pods:']),
    ...(loadImage === null ? [] : [`    ${loadImage.join(' ')} <image>`]),
    '',
    '',
  ].join('\n');
}
