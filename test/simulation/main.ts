import { simulate } from './simulation.ts';
Error.stackTraceLimit = 0;
const seed = Number(process.argv[2]);
const n = Number(process.argv[3] ?? 1);
const t = performance.now();
let bad = 0,
  sim = 0;
for (let i = 0; i < n; i++) {
  const o = await simulate(seed + i, n === 1 ? { onLine: (l) => console.log(l) } : {});
  sim += o.simulatedMs;
  if (o.violation) {
    bad++;
    console.log(o.seed, o.violation);
  }
}
console.log(
  n,
  'seeds',
  bad,
  'bad',
  (performance.now() - t).toFixed(0),
  'ms',
  (sim / 1000 / 3600).toFixed(1),
  'h',
);
