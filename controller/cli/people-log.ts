import { Writable } from 'node:stream';
import { styleText } from 'node:util';
import { z } from 'zod';
import { displayJson, displayText } from './display-text.ts';
import type { OutputStream } from './output.ts';

const lineSchema = z.looseObject({ level: z.number(), time: z.number(), msg: z.string().default('') });

const WARN = 40;
const ERROR = 50;
/** What pino adds to every line and people know already. */
const OMITTED: ReadonlySet<string> = new Set(['level', 'time', 'msg', 'pid', 'hostname']);

/** A destination for pino that writes its JSON lines for people: time, message, then the fields. */
export function peopleLog(stream: OutputStream): Writable {
  return new Writable({
    decodeStrings: false,
    write(chunk: string, _encoding, done) {
      const lines = chunk.split('\n').filter((line) => line !== '');
      stream.write(lines.map((line) => `${forPeople(line, stream)}\n`).join(''), done);
    },
  });
}

function forPeople(line: string, stream: OutputStream): string {
  const entry = lineSchema.parse(JSON.parse(line));
  const style = (name: Parameters<typeof styleText>[0], text: string): string =>
    styleText(name, text, { stream });
  const fields = Object.entries(entry)
    .filter(([key]) => !OMITTED.has(key))
    .map(([key, value]) => `${key}=${displayJson(value)}`);
  const time = new Date(entry.time).toISOString().slice(11, 23);
  const message = displayText(entry.msg);
  const colour = entry.level >= ERROR ? 'red' : 'yellow';
  return [
    style('dim', time),
    entry.level >= WARN ? style(colour, message) : message,
    ...(fields.length > 0 ? [style('dim', fields.join(' '))] : []),
  ].join(' ');
}
