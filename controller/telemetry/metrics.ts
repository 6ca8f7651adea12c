import { collectDefaultMetrics, Registry } from 'prom-client';

/** What Prometheus reads (https://prometheus.io/docs/instrumenting/exposition_formats/). */
export interface Exposition {
  readonly contentType: string;
  readonly text: string;
}

/** The value of the label `tenant` for all tenants that have none of their own; no tenant can have this id. */
export const OTHER_TENANTS = '_other';

/** What one process counts and measures. docs/metrics.md lists all of it. */
export class Metrics {
  readonly registry = new Registry();
  /** So many tenants, at most, have a label value of their own; the rest share {@link OTHER_TENANTS}. */
  readonly labelledTenants: number;
  readonly #refreshes = new Set<() => Promise<void>>();

  constructor(options: { readonly labelledTenants: number }) {
    this.labelledTenants = options.labelledTenants;
    collectDefaultMetrics({ register: this.registry });
  }

  /**
   * Has `refresh` bring metrics up to date before each reading. It must not throw, and a reading waits for it.
   * @returns what ends it.
   */
  beforeReading(refresh: () => Promise<void>): () => void {
    this.#refreshes.add(refresh);
    return () => this.#refreshes.delete(refresh);
  }

  /** @returns all metrics of the process as they are now. */
  async read(): Promise<Exposition> {
    await Promise.all([...this.#refreshes].map((refresh) => refresh()));
    return { contentType: this.registry.contentType, text: await this.registry.metrics() };
  }
}
