import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // The servers of the run stop then, a container engine among them.
    teardownTimeout: 60_000,
    pool: 'forks',
    maxWorkers: 2,
  },
});
