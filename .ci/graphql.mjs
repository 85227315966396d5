// graphql.mjs SCHEMA PORT: takes requests that fit a schema (an introspection, gzipped), and answers
// others with 400 and the reason.
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { gunzipSync } from "node:zlib";

const require = createRequire(`${process.env.MODULES}/x.js`);
const { buildClientSchema, parse, validate, getVariableValues, Kind } = require("graphql");

const [file, port] = process.argv.slice(2);
const said = JSON.parse(gunzipSync(readFileSync(file)));
const schema = buildClientSchema(said.data ?? said, { assumeValid: true });

function problems({ query, variables }) {
  const document = parse(query);
  const found = validate(schema, document);
  if (found.length > 0) return found;
  const operation = document.definitions.find((one) => one.kind === Kind.OPERATION_DEFINITION);
  const known = new Set((operation.variableDefinitions ?? []).map((one) => one.variable.name.value));
  const unknown = Object.keys(variables ?? {}).filter((name) => !known.has(name));
  if (unknown.length > 0) return [{ message: `no variables ${unknown}` }];
  return getVariableValues(schema, operation.variableDefinitions ?? [], variables ?? {}).errors ?? [];
}

createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    let errors;
    try {
      errors = problems(JSON.parse(Buffer.concat(chunks).toString()));
    } catch (error) {
      errors = [error];
    }
    const signed = request.headers["x-shopify-access-token"] !== undefined;
    const status = !signed ? 401 : errors.length > 0 ? 400 : 200;
    const body = status === 200 ? { data: {} } : { errors: errors.map(({ message }) => ({ message })) };
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
}).listen(Number(port), "127.0.0.1");
