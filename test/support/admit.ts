import type pg from 'pg';
import { tenantIdSchema } from '../../controller/model/ids.ts';
import { admitRuns, type AdmittedAttempt } from '../../controller/store/run-transitions.ts';

/**
 * Admits the tenant's oldest run that is due.
 * @param claimTokenHash null: it is claimed by its pod's own identity.
 * @throws when a cap is full, or nothing is due.
 */
export async function admit(
  pool: pg.Pool,
  tenant: string,
  claimTokenHash: Buffer | null,
): Promise<AdmittedAttempt> {
  const admitted = await admitRuns(pool, [{ tenantId: tenantIdSchema.parse(tenant), runs: 1 }], {
    backend: claimTokenHash === null ? 'kubernetes' : 'docker',
    claimTokenHashes: claimTokenHash && [claimTokenHash],
  });
  const [attempt] = admitted;
  if (attempt === undefined) throw new Error(`no run of tenant "${tenant}" can be admitted`);
  return attempt;
}
