/** What users of a cluster need to know; one line of JSON from `npm run cluster -- --json`. */
export interface ClusterFacts {
  /** Path of a kubeconfig of the cluster's administrator. */
  readonly kubeconfig: string;
  /** Command line of kubectl for this cluster. */
  readonly kubectl: readonly string[];
  /** Path of the API server's audit log: every write, an event (JSON) a line. Null with a cluster that is not ours. */
  readonly auditLog: string | null;
  /** This machine's address as pods see it. Null without a node. */
  readonly nodeAddress: string | null;
  /**
   * Command line that, with the name of an image of DOCKER_HOST's engine appended, makes it known to the node. Null when
   * there is no node, or images get into the cluster in a way of its own.
   */
  readonly loadImage: readonly string[] | null;
}
