import { readFileSync } from 'node:fs';
import type { InternalService } from '../egress/internal-service.ts';
import type { Json } from '../model/json.ts';
import type { Reason } from '../model/reasons.ts';
import type { StepStatus, TerminalStatus } from '../model/run-status.ts';
import { tenantSchema, type Tenant } from '../model/tenant.ts';
import { DEMO_HOST, DEMO_PORT } from './service.ts';

/** How a sample run must end. */
export interface Expectation {
  readonly status: TerminalStatus;
  readonly reason: Reason | null;
  /** What is checked of its steps, by key; steps that are not named here are not checked. */
  readonly steps?: Readonly<
    Record<string, { readonly status: StepStatus; readonly tries?: number; readonly errorCode?: string }>
  >;
  readonly output?: Json;
}

/** One sample run. */
export interface Scenario {
  /** What it shows, for people. */
  readonly shows: string;
  readonly tenantId: Tenant['id'];
  /** A workflow of `examples/`, without `.json`. */
  readonly workflow: string;
  readonly input: Json;
  /** The demo cancels it as soon as it runs. */
  readonly cancelWhenRunning?: true;
  readonly expected: Expectation;
}

/** The demo's global cap: below the sum of what its tenants may have. */
export const DEMO_MAX_CONCURRENT = 4;

const egress = { mode: 'allowlist', allow: [{ host: DEMO_HOST, ports: [DEMO_PORT] }] };
// On a cluster what a run may use is reserved for it: four of them and the control plane fit on two cores.
const limits = { cpus: 0.4, memoryMb: 128, pids: 64, tmpMb: 16 };

const acme = tenantSchema.parse({ id: 'acme', maxConcurrent: 3, limits, egress });
const globex = tenantSchema.parse({ id: 'globex', maxConcurrent: 1, limits, egress });

/** Two tenants with different caps. */
export const DEMO_TENANTS: readonly Tenant[] = [acme, globex];

/** @returns the operator's declaration that opens the demo's own service, which has a private address, to runs. */
export const demoInternalService = (service: { address: string; port: number }): InternalService => ({
  host: DEMO_HOST,
  port: DEMO_PORT,
  address: service.address,
  targetPort: service.port,
});

/** The sample runs, in the order in which they are submitted. */
export const SCENARIOS: readonly Scenario[] = [
  {
    shows: 'five steps, data from page to invoice, four kinds of auth',
    tenantId: acme.id,
    workflow: 'contact-sync',
    input: { amount: 42 },
    expected: {
      status: 'SUCCESS',
      reason: null,
      steps: { announce: { status: 'SUCCESS' } },
      output: { text: 'For Katherine Johnson', amount: 42, revenue: 3830 },
    },
  },
  {
    shows: 'holds the only slot of its tenant',
    tenantId: globex.id,
    workflow: 'nightly-sync',
    input: { page: 1 },
    expected: { status: 'SUCCESS', reason: null },
  },
  {
    shows: 'waits for its tenant’s cap',
    tenantId: globex.id,
    workflow: 'nightly-sync',
    input: { page: 2 },
    expected: { status: 'SUCCESS', reason: null },
  },
  {
    shows: 'waits for its tenant’s cap',
    tenantId: globex.id,
    workflow: 'nightly-sync',
    input: { page: 3 },
    expected: { status: 'SUCCESS', reason: null },
  },
  {
    shows: 'tries again until it works',
    tenantId: acme.id,
    workflow: 'flaky-import',
    input: { failures: 2 },
    expected: {
      status: 'SUCCESS',
      reason: null,
      steps: { import: { status: 'SUCCESS', tries: 3 } },
      output: { failedBefore: 2 },
    },
  },
  {
    shows: 'runs past its deadline of 4 s',
    tenantId: acme.id,
    workflow: 'past-deadline',
    input: {},
    expected: { status: 'TIMEOUT', reason: 'DEADLINE_EXCEEDED' },
  },
  {
    shows: 'a step fails, the run goes on',
    tenantId: acme.id,
    workflow: 'optional-enrichment',
    input: { contact: 'ada' },
    expected: {
      status: 'SUCCESS',
      reason: null,
      steps: { enrich: { status: 'FAILED', errorCode: 'HTTP_STATUS' }, announce: { status: 'SUCCESS' } },
    },
  },
  {
    shows: 'a step is skipped, its condition does not hold',
    tenantId: acme.id,
    workflow: 'conditional-invoice',
    input: { moreThan: 1000 },
    expected: {
      status: 'SUCCESS',
      reason: null,
      steps: { contacts: { status: 'SUCCESS' }, invoice: { status: 'SKIPPED' } },
    },
  },
  {
    shows: 'a step fails and with it the run',
    tenantId: acme.id,
    workflow: 'rejected-order',
    input: { quantity: 0 },
    expected: {
      status: 'FAILED',
      reason: 'STEP_FAILED',
      steps: { order: { status: 'FAILED', errorCode: 'HTTP_STATUS' } },
    },
  },
  {
    shows: 'needs more memory than its 64 MiB',
    tenantId: acme.id,
    workflow: 'large-export',
    input: {},
    expected: { status: 'FAILED', reason: 'OOM_KILLED' },
  },
  {
    shows: 'is canceled while it runs',
    tenantId: acme.id,
    workflow: 'long-wait',
    input: { ms: 60_000 },
    cancelWhenRunning: true,
    expected: { status: 'CANCELED', reason: 'CANCELED' },
  },
  {
    shows: 'calls a host that its tenant does not allow',
    tenantId: acme.id,
    workflow: 'unlisted-host',
    input: {},
    expected: {
      status: 'FAILED',
      reason: 'STEP_FAILED',
      steps: { contacts: { status: 'SUCCESS' }, leak: { status: 'FAILED', errorCode: 'EGRESS_DENIED' } },
    },
  },
];

/** @returns the definition of a scenario's workflow, as its file has it. */
export const readWorkflow = (scenario: Scenario): unknown =>
  JSON.parse(readFileSync(new URL(`../../examples/${scenario.workflow}.json`, import.meta.url), 'utf8'));
