import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { apiRequest } from './api-request.ts';
import { makeCredentials, type Credentials } from './credentials.ts';
import { freePorts } from './free-ports.ts';
import type { Place } from './place.ts';
import { ServerProcess, type Command } from './server-process.ts';
import { until } from './until.ts';

const READY_MS = 60_000;
/** Free, because the address is the cluster's alone. */
const API_PORT = 6443;

/** Every write with who made it, and nothing of what was written. */
const AUDIT_POLICY = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived'],
  rules: [{ level: 'None', verbs: ['get', 'list', 'watch'] }, { level: 'Metadata' }],
};

/** By default the controllers hold themselves to 20 requests a second: thousands of Jobs would take hours. */
const UNTHROTTLED = ['--kube-api-qps=1000', '--kube-api-burst=1000'];

/** A control plane that answers. */
export interface ControlPlane {
  readonly credentials: Credentials;
  /** Command line of kubectl as the cluster's administrator. */
  readonly kubectl: Command;
  /** The API server's log of writes, an audit event (JSON) a line. */
  readonly auditLog: string;
  stop(): Promise<void>;
}

export interface ControlPlaneOptions {
  readonly programs: { readonly kubernetes: string; readonly etcd: string; readonly certificates: string };
  readonly place: Place;
  /** Whether pods run: the API server is then at the place's address instead of loopback. */
  readonly withNode: boolean;
  readonly log: (message: string) => void;
}

/** Starts etcd, the API server, the controllers and the scheduler, and waits until the API server is ready. */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { place, programs, withNode, log } = options;
  const [etcdPort, peerPort, freePort] = await freePorts(3);
  const [address, port] = withNode ? [place.hostAddress, API_PORT] : ['127.0.0.1', freePort];
  const credentials = await makeCredentials(programs.certificates, place, `https://${address}:${port}`);
  const auditLog = join(place.folder, 'audit.log');
  const auditPolicy = join(place.folder, 'audit-policy.json');
  writeFileSync(auditPolicy, JSON.stringify(AUDIT_POLICY));

  const servers: ServerProcess[] = [];
  const start = (name: string, ...command: Command): ServerProcess => {
    const server = new ServerProcess(name, command, place.folder, log);
    servers.push(server);
    return server;
  };
  const stop = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.stop()));
  };

  const { authority, etcd } = credentials;
  const etcdUrl = `https://127.0.0.1:${etcdPort}`;
  const peerUrl = `https://127.0.0.1:${peerPort}`;
  start(
    'etcd',
    programs.etcd,
    `--data-dir=${join(place.folder, 'etcd')}`,
    '--unsafe-no-fsync',
    '--log-level=warn',
    ...[`--listen-client-urls=${etcdUrl}`, `--advertise-client-urls=${etcdUrl}`],
    ...[`--listen-peer-urls=${peerUrl}`, `--initial-advertise-peer-urls=${peerUrl}`],
    `--initial-cluster=default=${peerUrl}`,
    // Who writes here is root in the cluster, and everybody on this machine reaches the port.
    ...['', 'peer-'].flatMap((of) => [
      ...[`--${of}cert-file=${etcd.certificate}`, `--${of}key-file=${etcd.key}`],
      ...[`--${of}client-cert-auth`, `--${of}trusted-ca-file=${authority}`],
    ]),
  );
  const apiServer = start(
    'kube-apiserver',
    programs.kubernetes,
    'kube-apiserver',
    ...[`--etcd-servers=${etcdUrl}`, `--etcd-cafile=${authority}`],
    ...[`--etcd-certfile=${etcd.certificate}`, `--etcd-keyfile=${etcd.key}`],
    ...[`--bind-address=${address}`, `--secure-port=${port}`],
    ...(withNode ? [`--advertise-address=${address}`] : ['--endpoint-reconciler-type=none']),
    `--service-cluster-ip-range=${place.serviceRange}`,
    ...[`--tls-cert-file=${credentials.apiServer.certificate}`],
    ...[`--tls-private-key-file=${credentials.apiServer.key}`],
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    `--token-auth-file=${credentials.tokens}`,
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-signing-key-file=${credentials.serviceAccountKey}`,
    `--service-account-key-file=${credentials.serviceAccountKey}`,
    '--kubelet-preferred-address-types=InternalIP',
    `--kubelet-client-certificate=${credentials.kubeletClient.certificate}`,
    `--kubelet-client-key=${credentials.kubeletClient.key}`,
    // So that it is the cluster's policies, and not this flag, that refuse privileged pods.
    '--allow-privileged=true',
    ...[`--audit-policy-file=${auditPolicy}`, `--audit-log-path=${auditLog}`, '--audit-log-mode=batch'],
    '--profiling=false',
  );
  const kubeconfig = credentials.kubeconfig('admin');
  const kubectl: Command = [programs.kubernetes, 'kubectl', '--kubeconfig', kubeconfig];
  const get = (path: string): Promise<string> => apiRequest(kubeconfig, path);
  try {
    await until('the API server', READY_MS, () => get('/readyz'));
    // They end when they do not find it.
    start(
      'kube-controller-manager',
      programs.kubernetes,
      'kube-controller-manager',
      ...connection(credentials.kubeconfig('kube-controller-manager')),
      '--use-service-account-credentials=true',
      `--service-account-private-key-file=${credentials.serviceAccountKey}`,
      `--root-ca-file=${credentials.authority}`,
    );
    start(
      'kube-scheduler',
      programs.kubernetes,
      'kube-scheduler',
      ...connection(credentials.kubeconfig('kube-scheduler')),
    );
    // Without the default service account, which the controllers make, no pod is admitted.
    await until('the controllers', READY_MS, () => get('/api/v1/namespaces/default/serviceaccounts/default'));
  } catch (error) {
    const lines = apiServer.lastLines();
    await stop();
    throw new Error(`the control plane did not start; the API server's log ends with:\n${lines}`, {
      cause: error,
    });
  }
  return { credentials, kubectl, auditLog, stop };
}

/** They are alone, and nobody asks them for anything. */
function connection(kubeconfig: string): string[] {
  return [`--kubeconfig=${kubeconfig}`, '--leader-elect=false', '--secure-port=0', ...UNTHROTTLED];
}
