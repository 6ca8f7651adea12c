import { expect, onTestFinished, test, vi } from 'vitest';
import { containerName, identityLabels } from '../../../controller/backends/docker/container-spec.ts';
import { newAttempt } from '../../support/attempts.ts';
import { dockerBackend } from '../../support/docker-backend.ts';
import { ScriptedEngine } from '../../support/scripted-engine.ts';

test(
  'a removal that the engine does not answer is given up, and can be tried again',
  { timeout: 10_000 },
  async () => {
    const spec = newAttempt();
    const engine = await ScriptedEngine.start(identityLabels('main', spec));
    const { backend, dispose } = await dockerBackend(engine.docker, { image: 'unused', instance: 'main' });
    onTestFinished(dispose);
    engine.containers = [{ Id: containerName('main', spec), State: 'exited' }];
    engine.removalsHang = true;
    onTestFinished(() => void (engine.removalsHang = false));
    const timeout = AbortSignal.timeout.bind(AbortSignal);
    const hundredTimesFaster = vi.spyOn(AbortSignal, 'timeout').mockImplementation((ms) => timeout(ms / 100));
    onTestFinished(() => hundredTimesFaster.mockRestore());
    await expect(backend.remove(spec)).rejects.toThrow();
    engine.removalsHang = false;
    await backend.remove(spec);
  },
);
