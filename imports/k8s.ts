/** The Kubernetes L1 types (1.28) of cdk8s-plus-28: the one place that says where they come from. */
export { k8s } from 'cdk8s-plus-28';
