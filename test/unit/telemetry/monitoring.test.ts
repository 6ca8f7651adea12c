import { readFileSync } from 'node:fs';
import { parser } from '@prometheus-io/lezer-promql';
import { describe, expect, test } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { EGRESS_REASONS } from '../../../controller/egress/reasons.ts';
import { ERROR_CODES } from '../../../controller/errors.ts';
import { REASONS } from '../../../controller/model/reasons.ts';
import { ControllerTelemetry } from '../../../controller/telemetry/controller-telemetry.ts';
import { EgressMetrics } from '../../../controller/telemetry/egress-metrics.ts';
import { GatewayMetrics } from '../../../controller/telemetry/gateway-metrics.ts';
import { Metrics } from '../../../controller/telemetry/metrics.ts';

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');

const LABELS = ['tenant', 'mode', 'reason', 'status', 'request', 'outcome', 'verdict', 'scope'];
/** What Prometheus adds to every target's metrics, and to histograms. */
const GIVEN_LABELS = ['instance', 'job', 'le'];

interface Declared {
  readonly name: string;
  readonly type: string;
  readonly labelNames: readonly string[];
}

/** All metrics that any component has. */
const declared: readonly Declared[] = (() => {
  const metrics = new Metrics({ labelledTenants: 1 });
  new ControllerTelemetry({ metrics, instance: 'x', traces: undefined });
  new GatewayMetrics(metrics);
  new EgressMetrics(metrics);
  return metrics.registry
    .getMetricsAsArray()
    .map((metric) => ({ labelNames: [], ...metric, type: String(metric.type) }));
})();
const ours = declared.filter(({ name }) => name.startsWith('wormhole_'));

/** The labels of every series that Prometheus can have, by its name. */
const series = new Map(
  declared.flatMap(({ name, type, labelNames }) =>
    (type === 'histogram' ? ['_bucket', '_sum', '_count'].map((suffix) => name + suffix) : [name]).map(
      (one) => [one, [...labelNames, ...GIVEN_LABELS]] as const,
    ),
  ),
);

/** Values that a label can have, of those labels whose values are a closed list. */
const VALUES: Readonly<Record<string, readonly string[]>> = {
  reason: [...REASONS, ...Object.keys(EGRESS_REASONS), 'NONE'],
  outcome: [...Object.keys(ERROR_CODES), 'OK', 'delivered', 'failed'],
  status: ['SUCCESS', 'FAILED', 'TIMEOUT', 'CANCELED'],
  verdict: ['allowed', 'denied'],
  scope: ['platform', 'tenant'],
};

/** @returns what is wrong with a PromQL expression: its syntax, or names that no component has. */
function faultsOf(expression: string): string[] {
  const text = expression.replaceAll('$__rate_interval', '5m');
  const faults: string[] = [];
  const used = new Set<string>();
  const textOf = ({ from, to }: { readonly from: number; readonly to: number }): string =>
    text.slice(from, to);
  parser.parse(text).iterate({
    enter: (node) => {
      if (node.type.isError) faults.push(`syntax error at ${node.from}`);
      if (node.name === 'VectorSelector') {
        const name = textOf(node.node.getChild('Identifier') ?? { from: 0, to: 0 });
        const labels = series.get(name);
        if (labels === undefined) faults.push(`no component has ${name}`);
        for (const label of labels ?? []) used.add(label);
        for (const matcher of node.node.getChild('LabelMatchers')?.getChildren('UnquotedLabelMatcher') ??
          []) {
          const label = textOf(matcher.getChild('LabelName')!);
          if (labels !== undefined && !labels.includes(label)) faults.push(`${name} has no label ${label}`);
          const values = textOf(matcher.getChild('StringLiteral')!).slice(1, -1).split('|');
          const known = VALUES[label];
          if (known !== undefined) {
            faults.push(
              ...values
                .filter((value) => !known.includes(value))
                .map((value) => `${label} is never ${value}`),
            );
          }
        }
      }
      if (node.name === 'GroupingLabels') {
        for (const label of node.node.getChildren('LabelName').map(textOf)) {
          if (!series.values().some((labels) => labels.includes(label)))
            faults.push(`no metric has ${label}`);
        }
      }
    },
  });
  return faults;
}

/** @returns the cells of each row that starts with a name in backquotes, below a heading, by that name. */
function rowsBelow(heading: string): Map<string, string[]> {
  const section =
    read('docs/metrics.md')
      .split(/^## /m)
      .find((text) => text.startsWith(heading)) ?? '';
  return new Map(
    section
      .split('\n')
      .filter((line) => line.startsWith('| `'))
      .map((line) =>
        line
          .split('|')
          .slice(1, -1)
          .map((cell) => cell.trim()),
      )
      .map(([name, ...cells]) => [name!.replaceAll('`', ''), cells]),
  );
}

describe('metrics', () => {
  test.each(ours)('$name is named by convention, explained, and has no label without a bound', (metric) => {
    expect(metric.name).toMatch(/^wormhole_[a-z]+(?:_[a-z]+)*$/);
    expect(metric.name.endsWith('_total')).toBe(metric.type === 'counter');
    expect(metric.labelNames.filter((label) => !LABELS.includes(label))).toEqual([]);
    expect((metric as unknown as { help: string }).help).toMatch(/^[A-Z].{20,}\.$/);
  });

  const rows = rowsBelow('Metrics');

  test.each(ours)('docs/metrics.md has $name with its type and labels', ({ name, type, labelNames }) => {
    const [documentedType, labels, of, meaning] = rows.get(name) ?? [];
    expect(documentedType).toBe(type);
    expect(labels).toBe(labelNames.map((label) => `\`${label}\``).join(', '));
    expect(of).toMatch(/controller|gateway|egress proxy/);
    expect(meaning!.length).toBeGreaterThan(10);
  });

  test('docs/metrics.md has no metric that does not exist', () => {
    expect([...rows.keys()].filter((name) => !ours.some((metric) => metric.name === name))).toEqual([]);
  });
});

describe('deploy/monitoring/alerts.yaml', () => {
  const rule = z.strictObject({
    alert: z.string().regex(/^Wormhole[A-Za-z]+$/),
    expr: z.string().min(1),
    for: z
      .string()
      .regex(/^\d+[smh]$/)
      .optional(),
    labels: z.strictObject({ severity: z.enum(['critical', 'warning']) }),
    annotations: z.strictObject({ summary: z.string().min(10) }),
  });
  const file = z.strictObject({
    groups: z.array(z.strictObject({ name: z.string(), rules: z.array(rule) })),
  });
  const { rules } = file.parse(parseYaml(read('deploy/monitoring/alerts.yaml'))).groups[0]!;
  const rows = rowsBelow('Alerts');

  test.each(rules)('$alert has an expression over metrics that there are', ({ expr, annotations }) => {
    expect(faultsOf(expr)).toEqual([]);
    for (const [, label] of annotations.summary.matchAll(/\$labels\.(\w+)/g)) expect(LABELS).toContain(label);
  });

  test.each(rules)('docs/metrics.md says of $alert what it means and what to do', ({ alert, labels }) => {
    const [severity, meaning, todo] = rows.get(alert) ?? [];
    expect(severity).toBe(labels.severity);
    expect(meaning!.length).toBeGreaterThan(20);
    expect(todo!.length).toBeGreaterThan(20);
  });

  test('docs/metrics.md has no other alert, and no alert is there twice', () => {
    expect([...rows.keys()].toSorted()).toEqual(rules.map(({ alert }) => alert).toSorted());
  });
});

describe('deploy/monitoring/dashboard.json', () => {
  const panel = z.object({
    id: z.int(),
    type: z.enum(['row', 'timeseries', 'stat', 'heatmap', 'table']),
    title: z.string().min(1),
    gridPos: z.object({ x: z.int(), y: z.int(), w: z.int(), h: z.int() }),
    targets: z.array(z.object({ refId: z.string(), expr: z.string(), legendFormat: z.string() })).default([]),
  });
  const dashboard = z
    .object({ uid: z.string(), title: z.string(), schemaVersion: z.int(), panels: z.array(panel) })
    .parse(JSON.parse(read('deploy/monitoring/dashboard.json')));
  const { panels } = dashboard;

  test.each(panels.filter(({ type }) => type !== 'row'))(
    '"$title" shows metrics that there are',
    ({ targets }) => {
      expect(targets.length).toBeGreaterThan(0);
      expect(targets.flatMap(({ expr }) => faultsOf(expr))).toEqual([]);
    },
  );

  test('panels have an id of their own and do not overlap', () => {
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    for (const { gridPos: one, id } of panels) {
      const overlapping = panels.filter(
        ({ gridPos: other, id: otherId }) =>
          otherId > id &&
          one.x < other.x + other.w &&
          other.x < one.x + one.w &&
          one.y < other.y + other.h &&
          other.y < one.y + one.h,
      );
      expect(overlapping.map(({ title }) => title)).toEqual([]);
    }
  });

  test('every metric of ours is on it, or in an alert', () => {
    const text = read('deploy/monitoring/dashboard.json') + read('deploy/monitoring/alerts.yaml');
    expect(ours.filter(({ name }) => !text.includes(name)).map(({ name }) => name)).toEqual([]);
  });
});

test.each([
  ['wormhole_runs_queued >', 'syntax error'],
  ['sum(wormhole_nothing)', 'no component has wormhole_nothing'],
  ['wormhole_slots{tenant="acme"}', 'wormhole_slots has no label tenant'],
  ['wormhole_runs_total{reason="BAD_LUCK"}', 'reason is never BAD_LUCK'],
  ['sum by (run_id) (wormhole_slots)', 'no metric has run_id'],
])('the check of expressions refuses %s', (expression, fault) => {
  expect(faultsOf(expression).join()).toContain(fault);
});
