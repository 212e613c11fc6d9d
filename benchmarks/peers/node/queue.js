// Bull and BullMQ, driven like benchmarks/peers/queues/_drive.py drives the rivals in Python (its docstring has the words).
"use strict";
const fs = require("fs");

const TEXT = "x".repeat(187);
const CALLERS = 100, TICK = 20;
const clock = () => Number(process.hrtime.bigint()) / 1e9; // CLOCK_MONOTONIC, that of time.monotonic()
const payload = (n) => ({ n, text: TEXT });
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

function recorder(path, each) {
  const file = fs.openSync(path, "a");
  let numbers = [];
  const write = () => {
    if (!numbers.length) return;
    const data = Buffer.alloc(12 + 4 * numbers.length);
    data.writeDoubleLE(clock(), 0);
    data.writeUInt32LE(numbers.length, 8);
    numbers.forEach((n, i) => data.writeUInt32LE(n, 12 + 4 * i));
    fs.writeSync(file, data);
    numbers = [];
  };
  if (each) return (n) => { numbers.push(n); write(); };
  setInterval(write, TICK);
  return (n) => numbers.push(n);
}

const rivals = {
  bull(url) {
    const Bull = require("bull");
    const queue = new Bull("bench", url);
    const options = { removeOnComplete: 100, removeOnFail: 50 };
    return {
      add: (n) => queue.add("noop", payload(n), options),
      addMany: (numbers) => queue.addBulk(numbers.map((n) => ({ name: "noop", data: payload(n), opts: options }))),
      close: () => queue.close(),
      work: (handled) => queue.process("noop", 100, async (job) => { handled(job.data.n); }),
    };
  },
  bullmq(url) {
    const { Queue, Worker } = require("bullmq");
    const { hostname, port } = new URL(url);
    const connection = { host: hostname, port: Number(port), maxRetriesPerRequest: null };
    const options = { removeOnComplete: { count: 100 }, removeOnFail: { count: 50 } };
    let queue;
    const made = () => queue || (queue = new Queue("bench", { connection, defaultJobOptions: options }));
    return {
      add: (n) => made().add("noop", payload(n)),
      addMany: (numbers) => made().addBulk(numbers.map((n) => ({ name: "noop", data: payload(n) }))),
      close: () => made().close(),
      work: (handled) => new Worker("bench", async (job) => { handled(job.data.n); }, { connection, concurrency: 100 }),
    };
  },
};

async function add(rival, how, first, count) {
  const numbers = Array.from({ length: count }, (_, i) => first + i);
  await rival.add(numbers.shift()); // connected, scripts loaded
  const times = [];
  const began = clock();
  if (how === "one") {
    for (const n of numbers) await rival.add(n);
  } else if (how === "crowd") {
    let next = 0;
    const caller = async () => { while (next < numbers.length) await rival.add(numbers[next++]); };
    await Promise.all(Array.from({ length: CALLERS }, caller));
  } else if (how === "many") {
    for (let i = 0; i < numbers.length; i += 1000) await rival.addMany(numbers.slice(i, i + 1000));
  } else {
    for (const n of numbers) {
      await pause(10 + 20 * Math.random());
      times.push(clock());
      await rival.add(n);
    }
  }
  console.log(JSON.stringify({ seconds: clock() - began, times }));
  await rival.close();
}

const [name, role, url, ...rest] = process.argv.slice(2);
const rival = rivals[name](url);
if (role === "work") {
  process.stdin.on("end", () => process.exit()).resume(); // whoever started this has died
  rival.work(recorder(rest[0], rest[1] === "1"));
} else add(rival, rest[0], Number(rest[1]), Number(rest[2]));
