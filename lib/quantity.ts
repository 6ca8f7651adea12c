import { k8s } from '../imports/k8s.ts';

/**
 * Quantities in the form in which the API server writes them back, so that a GitOps diff stays empty.
 * https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
 */

/** @returns CPU cores given in thousandths: 1500 is `1500m`, 2000 is `2`. */
export const cpuQuantity = (millicores: number): k8s.Quantity =>
  k8s.Quantity.fromString(millicores % 1000 === 0 ? String(millicores / 1000) : `${millicores}m`);

/** @returns bytes given in MiB: 512 is `512Mi`, 2048 is `2Gi`. */
export const mebibyteQuantity = (mebibytes: number): k8s.Quantity => {
  let value = mebibytes;
  let suffix = 0;
  const suffixes = ['Mi', 'Gi', 'Ti', 'Pi'];
  while (value > 0 && value % 1024 === 0 && suffix < suffixes.length - 1) {
    value /= 1024;
    suffix += 1;
  }
  return k8s.Quantity.fromString(`${value}${suffixes[suffix] ?? ''}`);
};

/** @returns a number of objects. */
export const countQuantity = (count: number): k8s.Quantity => k8s.Quantity.fromString(String(count));
