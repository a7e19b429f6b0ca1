// A real OpenID provider (oidc-provider) on a port of 127.0.0.1, behind a front that can rotate its keys and fail.
//
//   OIDC_PROVIDER=DIRECTORY node provider.mjs [ISSUER CERTIFICATE KEY ROOT]
//
// DIRECTORY is the installed package. Without arguments it speaks plain HTTP and its issuer is its own address; with them it is ISSUER, over
// TLS. It takes one JSON object a line on standard input, and answers with one that has the same `id`:
//
//   {"do": "keys", "sign": NAME, "publish": [NAME, ..]}  sign with this key from now on, publish it and those; `set` counts the changes
//   {"do": "tokens", "count": N}                         N fresh access tokens from the token endpoint
//   {"do": "fail", "how": HOW, "at": PATH}               answer so at this path; HOW is one of `faults`, or null
//
// Lines without `id` tell what happens at the two paths that keys come from: `asked`, and `answered` or, if the client was gone, `left`.
// It ends when its standard input does.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const library = createRequire(import.meta.url).resolve(process.env.OIDC_PROVIDER);
const { default: Provider } = await import(pathToFileURL(library));

const CLIENT = 'desk';
const AUDIENCE = 'https://patients.test';
const DISCOVERY = '/.well-known/openid-configuration';
const KEYS = '/jwks';
/** Must never reach a log of the program that asks. */
const MARK = 'hunter2';
const BIG = 10 * 1024 * 1024;

const secret = randomBytes(24).toString('base64url');
const cookies = randomBytes(24).toString('base64url');
const faults = {
  down: (_, response) => response.socket.destroy(),
  unavailable: (_, response) => response.writeHead(503).end(MARK),
  html: (_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end(`<!doctype html><title>${MARK}</title>`),
  // Good keys, but too much around them.
  big: changed((document) => ({ ...document, padding: MARK.padEnd(BIG, '-') })),
  twin: changed((document) => withTwin(document, 'sig')),
  'twin-for-encryption': changed((document) => withTwin(document, 'enc')),
  // Ends when the client leaves.
  slow: () => {},
};

const [issuerName, certificate, key, root] = process.argv.slice(2);
const tls = certificate && { cert: readFileSync(certificate), key: readFileSync(key), ca: readFileSync(root) };
const server = tls ? https.createServer(tls, front) : http.createServer(front);
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const { port } = server.address();
const issuer = issuerName ?? `http://127.0.0.1:${port}`;

const keys = new Map();
const failing = new Map();
let set = 0;
let provider;
rotate('first', []);
tell({ issuer, port, set });

const commands = {
  keys({ sign, publish }) {
    rotate(sign, publish);
    return { set };
  },
  async tokens({ count }) {
    return { tokens: await Promise.all(Array.from({ length: count }, token)) };
  },
  fail({ how, at }) {
    if (how !== null && !(how in faults)) throw new Error(`no such fault: ${how}`);
    failing.set(at, how);
    return {};
  },
};
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  tell({ id: command.id, ...(await commands[command.do](command)) });
}
process.exit();

/** The provider reads its keys when it is made, so another takes its place: as at a restart with other keys, without the pause. */
function rotate(sign, publish) {
  set += 1;
  provider = new Provider(issuer, {
    clients: [{
      client_id: CLIENT,
      client_secret: secret,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    }],
    cookies: { keys: [cookies] },
    // It signs with the first that fits.
    jwks: { keys: [...new Set([sign, ...publish])].map(named) },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: () => ({
          scope: 'read',
          audience: AUDIENCE,
          accessTokenTTL: 3600,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
    ttl: { ClientCredentials: 3600 },
  }).callback();
}

function named(name) {
  if (!keys.has(name)) keys.set(name, { ...rsa('privateKey'), kid: name, use: 'sig', alg: 'RS256' });
  return keys.get(name);
}

function rsa(half) {
  return generateKeyPairSync('rsa', { modulusLength: 2048 })[half].export({ format: 'jwk' });
}

function withTwin(document, use) {
  if (!document.keys) return document;
  const { kid } = document.keys[0];
  return { ...document, keys: [...document.keys, { ...rsa('publicKey'), kid, use }] };
}

/** The provider's own document, changed on its way. */
function changed(change) {
  return (request, response) => {
    const end = response.end.bind(response);
    response.end = (text) => {
      const body = JSON.stringify(change(JSON.parse(text)));
      response.setHeader('content-length', Buffer.byteLength(body));
      return end(body);
    };
    return provider(request, response);
  };
}

function front(request, response) {
  const at = request.url;
  if (at !== KEYS && at !== DISCOVERY) return provider(request, response);
  const how = failing.get(at) ?? null;
  const seen = { at, how, set };
  tell({ event: 'asked', ...seen });
  response.on('close', () => tell({ event: response.writableFinished ? 'answered' : 'left', ...seen }));
  return how ? faults[how](request, response) : provider(request, response);
}

/** Asks the token endpoint, as any client does. */
function token() {
  const body = new URLSearchParams({ grant_type: 'client_credentials', scope: 'read', resource: AUDIENCE });
  const headers = {
    authorization: `Basic ${Buffer.from(`${CLIENT}:${secret}`).toString('base64')}`,
    'content-type': 'application/x-www-form-urlencoded',
    host: new URL(issuer).host,
  };
  const options = { host: '127.0.0.1', port, path: '/token', method: 'POST', headers };
  return new Promise((resolve, reject) => {
    const sent = tls
      ? https.request({ ...options, ca: tls.ca, servername: new URL(issuer).hostname }, read)
      : http.request(options, read);
    sent.on('error', reject).end(body.toString());

    async function read(response) {
      let text = '';
      for await (const piece of response) text += piece;
      if (response.statusCode === 200) resolve(JSON.parse(text).access_token);
      else reject(new Error(`the token endpoint: ${response.statusCode} ${text}`));
    }
  });
}

function tell(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
