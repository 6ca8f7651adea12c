import type { Command } from 'commander';
import type { RunCommand } from '../session.ts';

export function addDoctor(program: Command, run: RunCommand): void {
  program.command('doctor').action(() => run({}, () => Promise.resolve(0)));
}
