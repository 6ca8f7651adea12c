import { z } from 'zod';

const DNS_LABEL = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;
const dnsLabel = z.string().regex(DNS_LABEL, '1 to 63 lower-case letters, digits or "-"');
/** With "-" and a tenant's id of 50 characters it is a namespace's name, which has 63 at most. */
const PREFIX_CHARACTERS = 12;
const objectName = z
  .string()
  .max(253)
  .regex(/^[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?$/, 'lower-case letters, digits, "-" or "."');
const labelKey = z
  .string()
  .regex(
    /^(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?\/)?[A-Za-z0-9](?:[-\w.]{0,61}[A-Za-z0-9])?$/,
    'a label key, e.g. "wormhole.dev/pool"',
  );
const labelValue = z
  .string()
  .regex(/^(?:[A-Za-z0-9](?:[-\w.]{0,61}[A-Za-z0-9])?)?$/, 'a label value of at most 63 characters');
const imageName = z.string().regex(/^[\w][\w./:@-]{0,511}$/, 'an image reference such as name@sha256:…');
const port = z.int().min(1).max(65_535);

const toleration = {
  key: labelKey,
  effect: z.enum(['NoSchedule', 'PreferNoSchedule', 'NoExecute']).exactOptional(),
};
const placementSchema = z.strictObject({
  nodeSelector: z.record(labelKey, labelValue).exactOptional(),
  tolerations: z
    .array(
      z.discriminatedUnion('operator', [
        z.strictObject({ ...toleration, operator: z.literal('Exists') }),
        z.strictObject({ ...toleration, operator: z.literal('Equal'), value: labelValue }),
      ]),
    )
    .max(32)
    .exactOptional(),
  priorityClassName: objectName.exactOptional(),
  runtimeClassName: objectName.exactOptional(),
  hostUsers: z.literal(false).exactOptional(),
});

/** The cluster that runs get their pods in: the section `kubernetes` of the declared file. */
export const kubernetesSchema = z
  .strictObject({
    platformNamespace: dnsLabel.default('wormhole-system'),
    tenantNamespacePrefix: dnsLabel.max(PREFIX_CHARACTERS).default('wormhole-run'),
    runnerImage: imageName,
    allowImageTag: z.boolean().default(false),
    gateway: z
      .strictObject({
        service: dnsLabel.default('wormhole-gateway'),
        port: port.default(8443),
        audience: z
          .string()
          .max(253)
          .regex(/^[!-~]+$/, 'printable characters without spaces')
          .default('wormhole-gateway'),
      })
      .prefault({}),
    egressProxy: z
      .strictObject({
        service: dnsLabel.default('wormhole-egress-proxy'),
        port: port.default(3128),
      })
      .prefault({}),
    placement: placementSchema.default({}),
    queueName: dnsLabel.exactOptional(),
    unschedulableTimeoutMs: z.int().min(1000).max(3_600_000).default(30_000),
  })
  .superRefine(({ runnerImage, allowImageTag }, context) => {
    if (allowImageTag || /@sha256:[0-9a-f]{64}$/.test(runnerImage)) return;
    context.addIssue({
      code: 'custom',
      path: ['runnerImage'],
      input: runnerImage,
      message: 'an image by digest, name@sha256:…; a tag only with allowImageTag',
    });
  });

/** See docs/configuration.md. */
export type KubernetesConfig = z.output<typeof kubernetesSchema>;

/** @returns the name under which pods reach a Service of the platform. */
export const serviceHost = ({ platformNamespace }: KubernetesConfig, service: string): string =>
  `${service}.${platformNamespace}.svc`;

/** @returns where runners find the gateway. */
export const gatewayUrl = (config: KubernetesConfig): string =>
  `https://${serviceHost(config, config.gateway.service)}:${config.gateway.port}`;

/** @returns where runners find the egress proxy. */
export const egressProxyUrl = (config: KubernetesConfig): string =>
  `http://${serviceHost(config, config.egressProxy.service)}:${config.egressProxy.port}`;
