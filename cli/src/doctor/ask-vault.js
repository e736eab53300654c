// Asks the vault what it is, by the Node that bw runs on, so that what is
// trusted here is what bw trusts. Prints one JSON object. No credential.
const base = process.argv[1].replace(/\/+$/, "");
const get = (path) =>
  fetch(base + path, { signal: AbortSignal.timeout(10000), redirect: "manual" });
(async () => {
  try {
    const config = await get("/api/config");
    const date = Date.parse(config.headers.get("date") ?? "");
    const answer = { status: config.status, now: Date.now(), date: Number.isNaN(date) ? null : date };
    try {
      const version = await (await get("/api/version")).json();
      if (typeof version === "string") answer.version = version;
    } catch {}
    console.log(JSON.stringify(answer));
  } catch (error) {
    const cause = error.cause ?? error;
    console.log(JSON.stringify({ error: String(cause.code ?? cause.name), message: String(cause.message) }));
  }
  process.exit(0);
})();
