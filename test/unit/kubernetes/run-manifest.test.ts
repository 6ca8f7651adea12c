import { expect, test } from 'vitest';
import { runManifest } from '../../../controller/backends/kubernetes/run-manifest.ts';
import { newAttempt } from '../../support/attempts.ts';

const CA = `-----BEGIN CERTIFICATE-----\n${'MIIB'.repeat(16)}\n-----END CERTIFICATE-----\n`;
const options = {
  instance: 'main',
  image: 'wormhole-runner:dev',
  allowImageTag: true,
  gateway: { url: 'https://wormhole-gateway.wormhole-system.svc:8443', audience: 'wormhole-gateway', ca: CA },
  hosts: { 'wormhole-gateway.wormhole-system.svc': '10.0.0.7' },
  placement: {},
};

test('a Job comes after the run and the controller at the deadline, but soon', () => {
  const seconds = (leftMs: number): unknown =>
    runManifest(newAttempt({ deadlineInMs: leftMs }), 'run-acme', options);
  expect(seconds(60_000)).toMatchObject({ spec: { activeDeadlineSeconds: 75 } });
  // A deadline that has passed is still a Job that Kubernetes accepts.
  expect(seconds(-60_000)).toMatchObject({ spec: { activeDeadlineSeconds: 1 } });
  expect(seconds(24 * 3_600_000)).toMatchObject({ spec: { activeDeadlineSeconds: 24 * 3600 + 15 } });
});

test('a Job holds no claim token', () => {
  const spec = newAttempt({ claimToken: 'a-secret' });
  expect(JSON.stringify(runManifest(spec, 'run-acme', options))).not.toContain('a-secret');
});

test('the same attempt is the same Job whenever it is made', () => {
  const spec = newAttempt();
  const { metadata } = runManifest(spec, 'run-acme', options);
  const later = runManifest({ ...spec, deadlineInMs: 5_000 }, 'run-acme', options);
  expect(later.metadata).toEqual(metadata);
});
