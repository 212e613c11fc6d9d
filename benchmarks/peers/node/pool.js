// The pool of pg, driven like benchmarks/peers/_calls.py drives the rivals in Python: the same callers, the same checks.
// Connection settings come from PG* variables, the case as JSON. Prints seconds, calls, p50 and p99 as JSON.
"use strict";
const fs = require("fs");
const { performance } = require("perf_hooks");
const { Pool } = require("pg");

const clock = () => performance.now() / 1000;

async function caller(pool, question, emails, seconds) {
  const took = [];
  const began = clock();
  let now = began;
  for (let i = 0; ; i++) {
    const email = emails[i % emails.length];
    const { rows } = await pool.query(question(email));
    const before = now;
    now = clock();
    took.push(now - before);
    if (rows[0].email !== undefined ? rows[0].email !== email : rows[0]["?column?"] !== 1) throw new Error("wrong answer");
    if (now - began >= seconds) return { began, ended: now, took };
  }
}

async function main({ emails, sql, callers, connections, durations }) {
  const addresses = fs.readFileSync(emails, "utf-8").split("\n").filter(Boolean);
  // A statement with a name is prepared once for each connection, as the other drivers do without being asked.
  const question = sql.includes("$1") ? (email) => ({ name: "lead", text: sql, values: [email] }) : () => sql;
  const pool = new Pool({ max: connections });
  const clients = await Promise.all(Array.from({ length: connections }, () => pool.connect()));
  for (const client of clients) client.release();
  const shares = Array.from({ length: callers }, (_, n) => addresses.filter((_, i) => i % callers === n));
  let found;
  for (const seconds of durations) found = await Promise.all(shares.map((mine) => caller(pool, question, mine, seconds)));
  await pool.end();
  const took = Float64Array.from(found.flatMap((one) => one.took)).sort();
  console.log(JSON.stringify({
    seconds: Math.max(...found.map((one) => one.ended)) - Math.min(...found.map((one) => one.began)),
    calls: took.length,
    p50: took[Math.floor(took.length / 2)],
    p99: took[Math.floor((took.length * 99) / 100)],
  }));
}

main(JSON.parse(process.argv[2]));
