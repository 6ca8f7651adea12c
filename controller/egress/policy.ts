import type { EgressPolicy, EgressRule } from '../model/tenant.ts';
import { isPublicAddress } from './addresses.ts';
import { parseHost } from './host.ts';
import type { InternalService } from './internal-service.ts';
import { EgressRefusal } from './reasons.ts';

/** Where an allowed request goes. A name has yet to be resolved, and its addresses to be checked. */
export type Route =
  | { readonly kind: 'name' | 'address'; readonly host: string; readonly port: number }
  | { readonly kind: 'internal'; readonly host: string; readonly address: string; readonly port: number };

/** What a policy can say against a target. */
export type PolicyReason =
  | 'HOST_INVALID'
  | 'EGRESS_DISABLED'
  | 'HOST_NOT_ALLOWED'
  | 'PORT_NOT_ALLOWED'
  | 'ADDRESS_LITERAL'
  | 'ADDRESS_NOT_PUBLIC'
  | 'NAME_NOT_PUBLIC';

/** What the policy says; `host` is the normalised one, null if it is not a host at all. */
export type Decision =
  | { readonly allowed: true; readonly host: string; readonly route: Route }
  | { readonly allowed: false; readonly host: string | null; readonly reason: PolicyReason };

/** Names that never mean a public host: special use (RFC 6761, 6762, 8375), private use, and metadata services. */
const NOT_PUBLIC_NAMES = ['localhost', 'local', 'internal', 'home.arpa', 'metadata.goog'];

const isNotPublicName = (name: string): boolean =>
  !name.includes('.') || NOT_PUBLIC_NAMES.some((suffix) => name === suffix || name.endsWith(`.${suffix}`));

const matchesHost = (rule: EgressRule, name: string): boolean =>
  rule.host.startsWith('*.') ? name.endsWith(rule.host.slice(1)) : name === rule.host;

/**
 * Decides whether a tenant's policy lets a run out to `host:port`.
 * `*.example.com` covers every depth below `example.com`, not `example.com` itself. Addresses are for
 * `unrestricted` only. A declared internal service needs a rule in the tenant's `allow` in every mode.
 * @param host as the run wrote it.
 */
export function decide(
  policy: EgressPolicy,
  host: string,
  port: number,
  internalServices: readonly InternalService[],
): Decision {
  const parsed = parseHost(host);
  if (parsed === null) return { allowed: false, host: null, reason: 'HOST_INVALID' };
  const refuse = (reason: PolicyReason): Decision => ({ allowed: false, host: parsed.text, reason });
  const allow = (route: Route): Decision => ({ allowed: true, host: parsed.text, route });

  if (policy.mode === 'deny') return refuse('EGRESS_DISABLED');
  if (parsed.kind === 'address') {
    if (policy.mode === 'allowlist') return refuse('ADDRESS_LITERAL');
    if (!isPublicAddress(parsed.text)) return refuse('ADDRESS_NOT_PUBLIC');
    return allow({ kind: 'address', host: parsed.text, port });
  }

  const rules = policy.allow.filter((rule) => matchesHost(rule, parsed.text));
  const isListed = rules.some((rule) => rule.ports.includes(port));
  const service = internalServices.find((s) => s.host === parsed.text && s.port === port);
  if (isListed && service !== undefined) {
    return allow({ kind: 'internal', host: parsed.text, address: service.address, port: service.targetPort });
  }
  if (policy.mode === 'allowlist' && !isListed) {
    return refuse(rules.length === 0 ? 'HOST_NOT_ALLOWED' : 'PORT_NOT_ALLOWED');
  }
  if (isNotPublicName(parsed.text)) return refuse('NAME_NOT_PUBLIC');
  return allow({ kind: 'name', host: parsed.text, port });
}

/** @returns the refusal that tells the tenant what stands against its target, and the way out. */
export function policyRefusal(
  reason: PolicyReason,
  tenantId: string,
  host: string,
  port: number,
): EgressRefusal {
  return new EgressRefusal(reason, `${host}:${port} is refused: ${explain(reason, tenantId, host, port)}`);
}

function explain(reason: PolicyReason, tenantId: string, host: string, port: number): string {
  switch (reason) {
    case 'HOST_INVALID':
      return 'it is not a host; use a domain name';
    case 'EGRESS_DISABLED':
      return `tenant "${tenantId}" may reach nothing; its egress mode must be "allowlist", with a rule for ${host}`;
    case 'HOST_NOT_ALLOWED':
      return `the egress allowlist of tenant "${tenantId}" has no rule for ${host}; add one`;
    case 'PORT_NOT_ALLOWED':
      return `the egress allowlist of tenant "${tenantId}" has ${host}, but not port ${port}; add it to the rule`;
    case 'ADDRESS_LITERAL':
      return 'an allowlist holds names, never addresses; use a domain name';
    case 'ADDRESS_NOT_PUBLIC':
      return 'it is not a public address; ask the operator to declare an internal service';
    case 'NAME_NOT_PUBLIC':
      return 'it is not a public name; ask the operator to declare an internal service';
  }
}
