import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, onTestFinished, test } from 'vitest';
import { describeWith, redis, root } from '../support/requires.ts';
import { dockerWithRunnerImage } from '../support/docker.ts';
import { FAULT_KINDS } from './schedule.ts';

const MAIN = join(import.meta.dirname, 'main.ts');
const MINUTES = 1.2;
const SEED = 5;
const TEST_MS = 420_000;

describeWith('a platform of its own', root, () => {
  describeWith('on a container engine', dockerWithRunnerImage, (engine) => {
    describeWith('with Redis', redis, () => {
      test(
        `whatever is killed, every run ends once and nothing is left (seed ${SEED})`,
        async () => {
          const { socketPath } = engine.modem as { socketPath?: string };
          const suite = spawn(
            process.execPath,
            [MAIN, '--minutes', String(MINUTES), '--seed', String(SEED)],
            {
              stdio: ['ignore', 'pipe', 'pipe'],
              env: { ...process.env, DOCKER_HOST: `unix://${socketPath ?? ''}` },
            },
          );
          const ended = once(suite, 'close') as Promise<[number | null]>;
          onTestFinished(async () => {
            if (suite.kill('SIGTERM')) await ended;
          });
          const [stdout, stderr] = await Promise.all([text(suite.stdout), text(suite.stderr)]);
          const [exitCode] = await ended;
          expect(exitCode, `${stderr}\n${stdout}`).toBe(0);
          const audit = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as {
            readonly kills: number;
            readonly submitted: number;
            readonly success: number;
            readonly violations: number;
            readonly faults: Readonly<Record<string, number>>;
          };
          expect(audit.violations).toBe(0);
          expect(audit.kills).toBeGreaterThanOrEqual(10);
          expect(Object.keys(audit.faults).sort()).toEqual([...FAULT_KINDS].sort());
          // It was under load, and went on working.
          expect(audit.submitted).toBeGreaterThan(30);
          expect(audit.success / audit.submitted).toBeGreaterThan(0.5);
        },
        TEST_MS,
      );
    });
  });
});
