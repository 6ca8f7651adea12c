import Dockerode from 'dockerode';
import { describe, expect, test } from 'vitest';
import { accepting, startError } from '../../../controller/backends/docker/engine-error.ts';
import { BackendError } from '../../../controller/errors.ts';

const refused = (statusCode: number, message: string): Error =>
  Object.assign(new Error(`(HTTP code ${statusCode}) - ${message}`), { statusCode });

describe('a failed start', () => {
  test.each([
    [refused(404, 'No such image: runner:1'), 'IMAGE_PULL_FAILED', true],
    [refused(400, 'invalid mount config for type "bind"'), 'ADMISSION_DENIED', false],
    [
      refused(400, 'OCI runtime create failed: exec: "x": executable file not found in $PATH: unknown'),
      'RUNNER_CRASHED',
      false,
    ],
    [refused(500, 'no space left on device'), 'UNSCHEDULABLE', true],
    [refused(404, 'No such container: x'), 'UNSCHEDULABLE', true],
    [Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' }), 'NODE_LOST', true],
    [AbortSignal.abort().reason, 'NODE_LOST', true],
    [Object.assign(new Error('disk full'), { code: 'ENOSPC', syscall: 'write' }), 'UNSCHEDULABLE', true],
  ])('%s is %s', (error, reason, retryable) => {
    const made = startError(error, 'run r, attempt 1');
    // An engine that refused has decided; one that did not answer is asked again.
    const unanswered = reason === 'NODE_LOST';
    expect(made).toMatchObject({ code: 'BACKEND_FAILED', reason, retryable, unanswered });
    expect(made.message).toMatch(/^run r, attempt 1: /);
  });

  test('an engine that does not listen is NODE_LOST', async () => {
    const docker = new Dockerode({ socketPath: '/nonexistent/docker.sock', host: undefined });
    const error: unknown = await docker.createContainer({ Image: 'x' }).catch((e: unknown) => e);
    expect(startError(error, 'run r')).toMatchObject({
      reason: 'NODE_LOST',
      retryable: true,
      unanswered: true,
    });
  });

  test('what is classified already stays as it is', () => {
    const error = new BackendError('QUOTA_EXCEEDED', 'x', { retryable: false });
    expect(startError(error, 'run r')).toBe(error);
  });
});

describe('accepting', () => {
  test('turns the refusals that are named into undefined, and no others', async () => {
    const gone: Promise<string> = Promise.reject(refused(404, 'x'));
    expect(await accepting([404], gone)).toBeUndefined();
    await expect(accepting([404], Promise.reject(refused(500, 'broken')))).rejects.toThrow('broken');
    await expect(accepting([404], Promise.reject(new Error('gone')))).rejects.toThrow('gone');
    expect(await accepting([404], Promise.resolve(7))).toBe(7);
  });
});
