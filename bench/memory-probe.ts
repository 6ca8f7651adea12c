/**
 * Loaded into a process that is measured (`node --expose-gc --import`): tells its parent, whenever that asks, how much
 * memory it uses once all garbage is collected and V8 has given back what it keeps for more: that depends on how busy the
 * process was just before, and says nothing of what it holds. Ends the process with its parent.
 */
process.on('message', () => {
  globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  process.send?.(process.memoryUsage());
});
process.on('disconnect', () => process.exit());
// What asks must not keep a process alive that has done its work.
process.channel?.unref();
