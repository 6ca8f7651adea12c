/**
 * Loaded into a process that is measured (`node --expose-gc --import`): tells its parent, whenever that asks, how much
 * memory it uses once all garbage is collected. Ends the process with its parent.
 */
process.on('message', () => {
  globalThis.gc?.();
  process.send?.(process.memoryUsage());
});
process.on('disconnect', () => process.exit());
// What asks must not keep a process alive that has done its work.
process.channel?.unref();
