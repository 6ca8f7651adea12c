// Runs on Node 20 with nothing installed: plain JavaScript, Node's own modules only.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { clearInterval, setInterval } from 'node:timers';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** The project folder. */
export const PROJECT = fileURLToPath(new URL('..', import.meta.url));

const LOCK = join(PROJECT, '.wormhole', 'install.lock');
const HEARTBEAT_MS = 1000;
/** A lock that was not touched for this long belongs to a process that was killed. */
const LOCK_STALE_MS = 10_000;
const PROGRESS_EVERY_MS = 10_000;

/**
 * Node 24, which the npm package `node` brings: the project's TypeScript runs on it whatever Node started us.
 * @returns {string} the path of its binary; it exists once `ensureDependencies` returned.
 */
export function node24() {
  return join(PROJECT, 'node_modules', 'node', 'bin', 'node');
}

/**
 * Makes node_modules match package-lock.json, with `npm ci` when it does not. Parallel starts wait for one
 * another. Says on stderr what it does; says nothing when there is nothing to do.
 * @returns {Promise<void>}
 * @throws {Error} when npm is missing or fails; the message ends with npm's own output.
 */
export async function ensureDependencies() {
  if (isInstalled()) return;
  const unlock = await lock();
  try {
    if (!isInstalled()) await install();
  } finally {
    unlock();
  }
}

/** Whether npm's record of what is in node_modules agrees with the lock file, package by package. */
function isInstalled() {
  const hidden = join(PROJECT, 'node_modules', '.package-lock.json');
  if (!existsSync(hidden) || !existsSync(node24())) return false;
  const installed = readPackages(hidden);
  return Object.entries(readPackages(join(PROJECT, 'package-lock.json'))).every(([path, wanted]) => {
    if (path === '') return true;
    const present = installed[path];
    // Optional packages are those of other operating systems and processors.
    if (present === undefined) return wanted.optional === true;
    return present.version === wanted.version && present.integrity === wanted.integrity;
  });
}

function readPackages(lockFile) {
  return JSON.parse(readFileSync(lockFile, 'utf8')).packages;
}

/** Takes the install lock: a file that its holder keeps writing. Waits as long as somebody does. */
async function lock() {
  mkdirSync(join(PROJECT, '.wormhole'), { recursive: true });
  for (let waiting = false; ; waiting = true) {
    try {
      writeFileSync(LOCK, `${process.pid}\n`, { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    if (!waiting) say('another start is installing the npm packages; waiting for it');
    await sleep(500);
    const touched = statSync(LOCK, { throwIfNoEntry: false })?.mtimeMs;
    if (touched !== undefined && Date.now() - touched > LOCK_STALE_MS) rmSync(LOCK, { force: true });
  }
  const heartbeat = setInterval(() => writeFileSync(LOCK, `${process.pid}\n`), HEARTBEAT_MS);
  const remove = () => rmSync(LOCK, { force: true });
  process.on('exit', remove);
  return () => {
    clearInterval(heartbeat);
    process.off('exit', remove);
    remove();
  };
}

async function install() {
  const startedAt = Date.now();
  const seconds = () => `${Math.round((Date.now() - startedAt) / 1000)} s`;
  say('installing the npm packages of package-lock.json, Node 24 among them (npm ci; about a minute)');
  const progress = setInterval(() => say(`still installing, ${seconds()}`), PROGRESS_EVERY_MS);
  try {
    await npmCi();
  } finally {
    clearInterval(progress);
  }
  if (!existsSync(node24())) {
    throw new Error(
      `npm ci left no Node 24 at ${node24()}: are install scripts switched off (npm config get ignore-scripts)?`,
    );
  }
  say(`npm packages installed in ${seconds()}`);
}

/** Runs `npm ci` and keeps what it prints for the error message. */
function npmCi() {
  return new Promise((resolve, reject) => {
    const npm = spawn('npm', ['ci', '--include=dev', '--no-fund', '--no-audit'], {
      cwd: PROJECT,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    npm.stdout.on('data', (chunk) => (output += chunk));
    npm.stderr.on('data', (chunk) => (output += chunk));
    const stop = (signal) => {
      npm.kill(signal);
      process.exit(signal === 'SIGINT' ? 130 : 143);
    };
    process.once('SIGINT', stop);
    process.once('SIGTERM', stop);
    npm.on('error', (error) =>
      reject(
        error.code === 'ENOENT'
          ? new Error('npm is not on the PATH: install Node.js 20 or newer together with npm')
          : error,
      ),
    );
    npm.on('close', (code, signal) => {
      process.off('SIGINT', stop);
      process.off('SIGTERM', stop);
      if (code === 0) resolve();
      else
        reject(
          new Error(`npm ci failed in ${PROJECT} (${signal ?? `exit code ${code}`}):\n${output.trim()}`),
        );
    });
  });
}

function say(text) {
  process.stderr.write(`wormhole: ${text}\n`);
}
