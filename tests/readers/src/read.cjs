// Reads each file by one of Node's readers and prints what came out: NUL after
// each KEY=VALUE, one more after each file, nothing for a file that was refused.
const { readFileSync } = require("node:fs");
const { createRequire } = require("node:module");
const { parseEnv } = require("node:util");

const [name, modules, ...paths] = process.argv.slice(1);
const library = () => createRequire(modules + "/")("dotenv");
const parse = {
  dotenv: () => library().parse,
  fast: () => (text) => library().parse(text, { fast: true }),
  node: () => parseEnv,
  json: () => JSON.parse,
  // `node --env-file` has read the one file already.
  started: () => () => process.env,
}[name]();

function read(path) {
  try {
    return Object.entries(parse(readFileSync(path, "utf8")));
  } catch (error) {
    console.error(`${path}: ${error.name}`);
    return [];
  }
}

const found = paths.map((path) => read(path).map(([k, v]) => `${k}=${v}\0`).join("") + "\0");
process.stdout.write(found.join(""));
