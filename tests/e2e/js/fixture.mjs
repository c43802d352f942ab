// What every test here needs: the server's address and key (from the environment, as the server printed them),
// plain requests, and waiting for a condition with a bound.
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, request as httpRequest } from 'node:http'
import path from 'node:path'
import { after, before, describe } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import * as newest from 'e2b'
import * as older from 'e2b-older'

const run = promisify(execFile)
export const here = path.dirname(fileURLToPath(import.meta.url))

for (const name of ['E2B_API_URL', 'E2B_SANDBOX_URL', 'E2B_DOMAIN', 'E2B_API_KEY']) {
  assert.ok(process.env[name], `${name} is not set: run these tests with \`cargo xtask e2e\``)
}
export const apiUrl = process.env.E2B_API_URL
export const apiKey = process.env.E2B_API_KEY

/** One request to the control plane; the body, if any, parsed as JSON. */
export async function request(method, where, body, key = apiKey) {
  const response = await fetch(apiUrl + where, {
    method,
    headers: { 'X-API-Key': key, ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) },
    body: body === undefined ? undefined : JSON.stringify(body),
  })
  const text = await response.text()
  return { status: response.status, headers: response.headers, body: text === '' ? null : JSON.parse(text) }
}

/** Asks `question` until it answers something truthy; fails after `seconds`. */
export async function eventually(what, question, seconds = 30) {
  const deadline = Date.now() + seconds * 1000
  for (;;) {
    const answer = await question()
    if (answer) return answer
    assert.ok(Date.now() < deadline, `not within ${seconds} s: ${what}`)
    // sleep: the pause between two looks
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/**
 * The same tests for both generations of the SDK, each with a sandbox of its own. `define` gets an object that holds
 * the SDK as `sdk` and, once the tests run, the sandbox as `sandbox`.
 */
export function eachGeneration(name, define, options = {}) {
  for (const [generation, sdk] of Object.entries({ newest, older })) {
    describe(`${name}, ${generation} SDK`, () => {
      const given = { sdk, generation, sandbox: undefined }
      before(async () => {
        given.sandbox = await sdk.Sandbox.create('base', { timeoutMs: 600_000, ...options })
      })
      after(async () => {
        await given.sandbox?.kill()
      })
      define(given)
    })
  }
}

/** What a promise was rejected with; fails if it was not. */
export async function failure(promise) {
  const outcome = await promise.then((value) => ({ value }), (error) => ({ error }))
  assert.ok(outcome.error, `should have failed, but gave ${JSON.stringify(outcome.value)}`)
  return outcome.error
}

/** The given bytes' SHA-256, as `sha256sum` prints it. */
export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex')

/**
 * One request to the server whose `Host` header and other headers are exactly as given, which `fetch` would not allow.
 * Host names below the server's domain need no name resolution this way.
 */
export async function plainRequest(where, { method = 'GET', headers = {}, body } = {}) {
  const url = new URL(where, process.env.E2B_SANDBOX_URL)
  return new Promise((resolve, reject) => {
    const asked = httpRequest(url, { method, headers, agent: false, timeout: 60_000 }, (answer) => {
      const chunks = []
      answer.on('data', (chunk) => chunks.push(chunk))
      answer.on('error', reject)
      answer.on('end', () => {
        const bytes = Buffer.concat(chunks)
        resolve({ status: answer.statusCode, headers: answer.headers, bytes, text: bytes.toString('utf8') })
      })
    })
    asked.on('timeout', () => asked.destroy(new Error(`no answer within a minute: ${url}`)))
    asked.on('error', reject)
    asked.end(body)
  })
}

/**
 * Runs a code sample of the product description as printed: only the base URL is changed, and the names that the
 * text leaves to the reader are defined in front of it.
 */
export async function runSample(name, definitions = {}) {
  const printed = await readFile(path.join(here, 'samples', name), 'utf8')
  const given = { E2B_API_KEY: apiKey, ...definitions }
  const prelude = Object.entries(given).map(([key, value]) => `const ${key} = ${JSON.stringify(value)}\n`)
  const source = prelude.join('') + printed.replaceAll('https://api.e2b.app', apiUrl)
  const folder = await mkdtemp(path.join(here, 'node_modules', '.sample-'))
  try {
    const file = path.join(folder, name)
    await writeFile(file, source)
    const { stdout } = await run(process.execPath, [file], { timeout: 60_000 })
    return stdout
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** The product description's own signature check, as printed but for its type annotations. */
export async function descriptionVerifier() {
  const printed = await readFile(path.join(here, 'samples', 'verify.ts'), 'utf8')
  const source = printed.replaceAll(/\s*:\s*string/g, '')
  const crypto = { createHash }
  return new Function('crypto', `${source}\nreturn verifyWebhookSignature`)(crypto)
}

/** A webhook receiver on loopback that keeps what it got. `answer(n)` chooses the status of the n-th request. */
export async function receiver(answer = () => 200) {
  const received = []
  const server = createServer((incoming, outgoing) => {
    const chunks = []
    incoming.on('data', (chunk) => chunks.push(chunk))
    incoming.on('end', () => {
      received.push({ headers: incoming.headers, body: Buffer.concat(chunks).toString('utf8') })
      outgoing.statusCode = answer(received.length)
      outgoing.end('thanks')
    })
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${server.address().port}/webhook`,
    received,
    close: () => new Promise((resolve) => server.close(resolve).closeAllConnections()),
  }
}

const cliFile = path.join(here, 'node_modules', '@e2b', 'cli', 'dist', 'index.js')
const cliEnvironment = { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0', HOME: path.join(here, 'node_modules') }

/** Runs the official CLI, with nothing to read. */
export async function cli(...args) {
  const running = run(process.execPath, [cliFile, ...args], { env: cliEnvironment, timeout: 60_000 })
  running.child.stdin.end()
  return running
}

/** Runs the official CLI on a terminal of its own. */
export function terminal(...args) {
  const command = [process.execPath, cliFile, ...args].map((word) => `'${word}'`).join(' ')
  const session = spawn('script', ['-qfec', command, '/dev/null'], { env: cliEnvironment, timeout: 60_000 })
  let shown = ''
  session.stdout.on('data', (chunk) => (shown += chunk))
  return {
    type: (keys) => session.stdin.write(keys),
    shown: () => shown,
    ended: new Promise((resolve) => session.on('close', resolve)),
  }
}
