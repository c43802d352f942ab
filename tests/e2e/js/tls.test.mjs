// e2e: tls
// The official clients over TLS with nothing set but the domain (host and port) and the key, and the certificate's
// authority: host names for everything, HTTP/2 where the client offers it.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { connect as connectHttp2 } from 'node:http2'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const here = path.dirname(fileURLToPath(import.meta.url))
for (const name of ['E2B_DOMAIN', 'E2B_API_KEY', 'NODE_EXTRA_CA_CERTS']) {
  assert.ok(process.env[name], `${name} is not set: run these tests with \`cargo xtask e2e tls\``)
}
const { E2B_API_URL: printedApi, E2B_SANDBOX_URL: printedSandbox, E2B_DOMAIN: domain } = process.env
delete process.env.E2B_API_URL
delete process.env.E2B_SANDBOX_URL
const newest = await import('e2b')
const older = await import('e2b-older')
const { Agent, WebSocket } = await import('undici')

/** Echoes WebSocket messages on port 3000; other requests learn how they were asked. */
const SERVER = `
import base64, hashlib, http.server, struct
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *args): pass
    def do_GET(self):
        if self.headers.get('Upgrade', '').lower() == 'websocket':
            return self.echo()
        seen = f'{self.request_version} {self.command} {self.path} {self.headers["Host"]}'.encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(seen)))
        self.end_headers()
        self.wfile.write(seen)
    def echo(self):
        key = self.headers['Sec-WebSocket-Key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
        self.send_response(101)
        self.send_header('Connection', 'Upgrade')
        self.send_header('Upgrade', 'websocket')
        self.send_header('Sec-WebSocket-Accept', base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.close_connection = True
        while head := self.rfile.read(2):
            size = head[1] & 127
            if size == 126:
                size, = struct.unpack('!H', self.rfile.read(2))
            elif size == 127:
                size, = struct.unpack('!Q', self.rfile.read(8))
            mask = self.rfile.read(4)
            data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(self.rfile.read(size)))
            if size < 126:
                self.wfile.write(bytes([head[0], size]) + data)
            else:
                self.wfile.write(bytes([head[0], 126]) + struct.pack('!H', size) + data)
            if head[0] & 15 == 8:
                return
http.server.ThreadingHTTPServer(('127.0.0.1', 3000), Handler).serve_forever()
`

async function eventually(what, question, seconds = 20) {
  const deadline = Date.now() + seconds * 1000
  for (;;) {
    const answer = await question()
    if (answer) return answer
    assert.ok(Date.now() < deadline, `not within ${seconds} s: ${what}`)
    // sleep: the pause between two looks
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** One request over HTTP/2. */
async function http2(origin, headers) {
  const session = connectHttp2(origin)
  try {
    return await new Promise((resolve, reject) => {
      session.on('error', reject)
      const stream = session.request(headers)
      let status
      let text = ''
      stream.on('response', (head) => { status = head[':status'] })
      stream.setEncoding('utf8').on('data', (part) => { text += part })
      stream.on('end', () => resolve({ status, text })).on('error', reject)
    })
  } finally {
    session.destroy()
  }
}

/** Sends each message once the one before it has come back. */
async function echoes(url, options, messages) {
  const socket = new WebSocket(url, options)
  socket.binaryType = 'arraybuffer'
  const next = (event) => new Promise((resolve, reject) => {
    socket.addEventListener(event, resolve, { once: true })
    socket.addEventListener('error', (error) => reject(error.error ?? error), { once: true })
  })
  await next('open')
  for (const message of messages) {
    socket.send(message)
    assert.equal((await next('message')).data, message)
  }
  const closed = next('close')
  socket.close(1000)
  assert.equal((await closed).code, 1000)
}

test('what the server prints for a shell', () => {
  assert.equal(printedApi, `https://api.${domain}`)
  assert.equal(printedSandbox, `https://sandbox.${domain}`)
  assert.match(domain, /^[a-z0-9.]+:\d+$/)
})

for (const [name, sdk] of Object.entries({ newest, older })) {
  describe(`the ${name} SDK`, () => {
    let sandbox
    before(async () => { sandbox = await sdk.Sandbox.create('base', { timeoutMs: 300_000 }) })
    after(() => sandbox?.kill())

    test('commands, files and metrics', async () => {
      assert.equal((await sandbox.commands.run('echo over $((6*7))')).stdout, 'over 42\n')
      const output = []
      await sandbox.commands.run('for n in 1 2 3; do echo $n; done', { onStdout: (text) => output.push(text) })
      assert.equal(output.join(''), '1\n2\n3\n')
      await sandbox.files.write('/home/user/a b.txt', 'text')
      assert.equal(await sandbox.files.read('/home/user/a b.txt'), 'text')
      const large = 'x'.repeat(5_000_000)
      await sandbox.files.write('/home/user/large', large)
      assert.equal((await sandbox.files.read('/home/user/large')).length, large.length)
      assert.equal(await sandbox.isRunning(), true)
      await eventually('there are metrics', async () => (await sandbox.getMetrics()).length > 0)
    })

    test('signed URLs name the sandbox', async () => {
      await sandbox.files.write('/home/user/signed.txt', 'for you')
      const down = await sandbox.downloadUrl('/home/user/signed.txt', { useSignatureExpiration: 60 })
      assert.equal(new URL(down).host, `49983-${sandbox.sandboxId}.${domain}`)
      assert.equal(await (await fetch(down)).text(), 'for you')
      // And work as well at the address that all sandboxes share.
      const shared = new URL(down)
      shared.host = `sandbox.${domain}`
      assert.equal(await (await fetch(shared)).text(), 'for you')
      const form = new FormData()
      form.append('file', new Blob(['up']), 'any')
      const up = await fetch(await sandbox.uploadUrl('/home/user/up.txt'), { method: 'POST', body: form })
      assert.equal(up.status, 200)
      assert.equal(await sandbox.files.read('/home/user/up.txt'), 'up')
    })

    test('is told the domain with its port', async () => {
      assert.equal(sandbox.getHost(3000), `3000-${sandbox.sandboxId}.${domain}`)
      const answer = await fetch(`https://api.${domain}/sandboxes/${sandbox.sandboxId}`, {
        headers: { 'X-API-Key': process.env.E2B_API_KEY },
      })
      assert.equal((await answer.json()).domain, domain)
    })
  })
}

describe('a program that listens', () => {
  let sandbox
  let host
  before(async () => {
    sandbox = await newest.Sandbox.create('base', {
      timeoutMs: 300_000,
      network: { maskRequestHost: 'app.internal:${PORT}' },
    })
    host = sandbox.getHost(3000)
    await sandbox.files.write('/home/user/server.py', SERVER)
    await sandbox.commands.run('exec python3 server.py', { background: true, timeoutMs: 0 })
    await eventually('it listens', async () => (await fetch(`https://${host}/`)).status === 200)
  })
  after(() => sandbox?.kill())

  test('over HTTP/1.1 and over HTTP/2, seeing the host its owner wished', async () => {
    const plain = await (await fetch(`https://${host}/one?a=b`)).text()
    assert.equal(plain, 'HTTP/1.1 GET /one?a=b app.internal:3000')
    const modern = await http2(`https://${host}`, { ':path': '/two' })
    assert.deepEqual(modern, { status: 200, text: 'HTTP/1.1 GET /two app.internal:3000' })
    const byHeaders = await http2(`https://sandbox.${domain}`, {
      ':path': '/three',
      'e2b-sandbox-id': sandbox.sandboxId,
      'e2b-sandbox-port': '3000',
    })
    assert.equal(byHeaders.text, 'HTTP/1.1 GET /three app.internal:3000')
    const detail = await newest.Sandbox.getInfo(sandbox.sandboxId)
    assert.equal(detail.network.maskRequestHost, 'app.internal:${PORT}')
  })

  test('a closed port and a page for people', async () => {
    const closed = await http2(`https://${sandbox.getHost(3001)}`, { ':path': '/' })
    assert.equal(closed.status, 502)
    assert.equal(JSON.parse(closed.text).message, 'The sandbox is running but port is not open')
    const page = await fetch(`https://${sandbox.getHost(3001)}/`, {
      headers: { 'User-Agent': 'Mozilla/5.0 (X11; Linux x86_64)', Accept: 'text/html,*/*;q=0.8' },
    })
    assert.equal(page.status, 502)
    assert.match(page.headers.get('content-type'), /^text\/html/)
    assert.match(await page.text(), /<h1>The sandbox is running but port is not open<\/h1>/)
  })

  const messages = ['hello', 'ü'.repeat(3000), 'bye']

  test('WebSockets over HTTP/1.1', () => echoes(`wss://${host}/`, {}, messages))

  test('WebSockets over HTTP/2', () => echoes(`wss://${host}/`, { dispatcher: new Agent({ allowH2: true }) }, messages))

  test('the client chooses the version', async () => {
    const [name, port] = domain.split(':')
    for (const [offered, chosen] of [[['h2', 'http/1.1'], 'h2'], [['http/1.1'], 'http/1.1']]) {
      const socket = connectTls({ host: `api.${name}`, servername: `api.${name}`, port: Number(port), ALPNProtocols: offered })
      await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject))
      assert.equal(socket.alpnProtocol, chosen)
      socket.destroy()
    }
  })
})

test('the official command line', async () => {
  const sandbox = await newest.Sandbox.create('base', { timeoutMs: 120_000 })
  try {
    const file = path.join(here, 'node_modules', '@e2b', 'cli', 'dist', 'index.js')
    const env = { ...process.env, NO_COLOR: '1', HOME: path.join(here, 'node_modules') }
    const cli = (...args) => {
      const running = promisify(execFile)(process.execPath, [file, ...args], { env, timeout: 60_000 })
      // `exec` passes on what it is given until it ends.
      running.child.stdin.end()
      return running
    }
    const listed = JSON.parse((await cli('sandbox', 'list', '--format', 'json')).stdout)
    assert.ok(listed.some((one) => one.sandboxId === sandbox.sandboxId))
    const ran = await cli('sandbox', 'exec', sandbox.sandboxId, 'echo', 'hello')
    assert.match(ran.stdout, /hello/)
    await cli('sandbox', 'kill', sandbox.sandboxId)
    assert.equal(await sandbox.isRunning(), false)
  } finally {
    await newest.Sandbox.kill(sandbox.sandboxId).catch(() => {})
  }
})
