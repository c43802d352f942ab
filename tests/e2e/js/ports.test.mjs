// Programs that listen inside a sandbox, reached through the one port by headers and by host name; and the words for
// what cannot be reached.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import http from 'node:http'
import net from 'node:net'
import { after, before, describe, test } from 'node:test'
import { Sandbox } from 'e2b'
import { eventually, failure, plainRequest, request, sha256 } from './fixture.mjs'

/** Answers with what was asked; `/big` with ten megabytes, `/upgrade` by switching to an echo. */
const SERVER = `
import hashlib, http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *args): pass
    def body(self):
        if self.headers.get('Transfer-Encoding') == 'chunked':
            data = b''
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get('Content-Length') or 0))
    def answer(self, data):
        self.send_response(200)
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def do_GET(self):
        if self.path == '/big':
            return self.answer(bytes(range(256)) * 40960)
        if self.path == '/upgrade':
            self.send_response(101)
            self.send_header('Connection', 'Upgrade')
            self.send_header('Upgrade', 'echo')
            self.end_headers()
            while line := self.rfile.readline():
                self.wfile.write(b'echo ' + line)
            self.close_connection = True
            return
        if self.path == '/letters':
            self.send_response(200)
            data = '\\n'.join(self.headers.keys()).encode()
            self.send_header('X-Answered-bY', 'me')
            self.send_header('Content-Length', str(len(data)))
            self.end_headers()
            return self.wfile.write(data)
        if self.path.startswith('/cookies/'):
            host = self.path.split('/')[2]
            self.send_response(200)
            self.send_header('Set-Cookie', 'own=1; Path=/')
            self.send_header('Set-Cookie', 'wide=1; Domain=' + host.split('.', 1)[1])
            self.send_header('Set-Cookie', 'named=1; Domain=' + host)
            self.send_header('Clear-Site-Data', '"cookies"')
            self.send_header('Content-Length', '0')
            return self.end_headers()
        seen = '\\n'.join(f'{name.lower()}: {value}' for name, value in self.headers.items())
        self.answer(f'{self.command} {self.path}\\n{seen}\\n'.encode())
    def do_POST(self):
        self.answer(hashlib.sha256(self.body()).hexdigest().encode())
http.server.ThreadingHTTPServer(('0.0.0.0', 3000), Handler).serve_forever()
`

const byHeaders = (id, port, where = '/', options = {}) =>
  plainRequest(where, { ...options, headers: { 'E2b-Sandbox-Id': id, 'E2b-Sandbox-Port': String(port), ...options.headers } })
const byName = (host, where = '/', options = {}) => plainRequest(where, { ...options, headers: { Host: host, ...options.headers } })

async function serve(sandbox) {
  await sandbox.files.write('/home/user/server.py', SERVER)
  await sandbox.commands.run('exec python3 server.py', { background: true, timeoutMs: 0 })
  await eventually('it listens', async () => (await byHeaders(sandbox.sandboxId, 3000)).status === 200)
}

describe('a program that listens', () => {
  let sandbox
  before(async () => {
    sandbox = await Sandbox.create('base', { timeoutMs: 600_000 })
    await serve(sandbox)
  })
  after(() => sandbox?.kill())

  test('is reached by headers and by host name', async () => {
    const one = await byHeaders(sandbox.sandboxId, 3000, '/some/path?with=query&and=%20')
    assert.equal(one.text.split('\n')[0], 'GET /some/path?with=query&and=%20')
    const host = sandbox.getHost(3000)
    assert.equal(host, `3000-${sandbox.sandboxId}.${process.env.E2B_DOMAIN}`)
    const other = await byName(host, '/by/name')
    assert.equal(other.text.split('\n')[0], 'GET /by/name')
    assert.match(other.text, new RegExp(`^host: ${host}$`, 'm'), 'it sees the name it was called by')
  })

  test('is where getHost() says, with the letters of its headers', async () => {
    // Names under .localhost are this machine (RFC 6761, section 6.3); not every system's resolver sees to it.
    const lookup = (name, options, found) => {
      assert.match(name, /\.localhost$/)
      found(null, options.all ? [{ address: '127.0.0.1', family: 4 }] : '127.0.0.1', 4)
    }
    const answer = await new Promise((resolve, reject) => {
      const headers = { 'X-Mixed-cASE': 'mine' }
      const asked = http.get(`http://${sandbox.getHost(3000)}/letters`, { lookup, headers, agent: false }, resolve)
      asked.on('error', reject)
    })
    answer.setEncoding('utf8')
    const text = (await answer.toArray()).join('')
    assert.ok(text.split('\n').includes('X-Mixed-cASE'), text)
    assert.ok(answer.rawHeaders.includes('X-Answered-bY'), answer.rawHeaders.join())
  })

  test('reaches no further than itself', async () => {
    const host = sandbox.getHost(3000).split(':')[0]
    const { headers } = await byName(host, `/cookies/${host}`)
    assert.deepEqual(headers['set-cookie'], ['own=1; Path=/', `named=1; Domain=${host}`])
    assert.equal(headers['clear-site-data'], undefined)
  })

  test('sees the headers of its own callers, and none of our keys', async () => {
    const headers = { 'X-Mine': 'yes', 'X-API-Key': process.env.E2B_API_KEY, Cookie: 'a=b' }
    const { text } = await byHeaders(sandbox.sandboxId, 3000, '/', { headers })
    assert.match(text, /^x-mine: yes$/m)
    assert.match(text, /^cookie: a=b$/m)
    assert.ok(!text.includes(process.env.E2B_API_KEY))
  })

  test('bodies go through whole, both ways', async () => {
    const body = randomBytes(3_000_000)
    const sent = await byHeaders(sandbox.sandboxId, 3000, '/', { method: 'POST', body, headers: { 'Content-Length': body.length } })
    assert.equal(sent.text, sha256(body))
    const chunked = await byHeaders(sandbox.sandboxId, 3000, '/', { method: 'POST', body, headers: { 'Transfer-Encoding': 'chunked' } })
    assert.equal(chunked.text, sha256(body))
    const big = await byName(sandbox.getHost(3000), '/big')
    assert.equal(big.bytes.length, 256 * 40960)
    assert.equal(sha256(big.bytes), sha256(Buffer.concat(Array(40960).fill(Buffer.from(Uint8Array.from({ length: 256 }, (_, n) => n))))))
  })

  test('an upgraded connection is a pipe', async () => {
    const url = new URL(process.env.E2B_SANDBOX_URL)
    const socket = net.connect(Number(url.port), url.hostname)
    let heard = ''
    socket.on('data', (data) => { heard += data })
    socket.write(`GET /upgrade HTTP/1.1\r\nHost: ${sandbox.getHost(3000)}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n`)
    await eventually('the switch', () => heard.includes('\r\n\r\n'))
    assert.match(heard, /^HTTP\/1\.1 101 /)
    socket.write('hello\n')
    await eventually('the first echo', () => heard.endsWith('echo hello\n'))
    socket.write('again\n')
    await eventually('the second echo', () => heard.endsWith('echo again\n'))
    socket.destroy()
  })

  test('many at once', async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => byHeaders(sandbox.sandboxId, 3000, `/${n}`)))
    assert.deepEqual(answers.map((one) => one.text.split('\n')[0]), answers.map((_, n) => `GET /${n}`))
  })

  test('a port where nobody listens', async () => {
    const expected = { sandboxId: sandbox.sandboxId, message: 'The sandbox is running but port is not open', port: 3001, code: 502 }
    for (const answer of [await byHeaders(sandbox.sandboxId, 3001), await byName(sandbox.getHost(3001))]) {
      assert.equal(answer.status, 502)
      assert.deepEqual(JSON.parse(answer.text), expected)
    }
  })

  test('what only the server itself may ask', async () => {
    const answer = await byHeaders(sandbox.sandboxId, 49983, '/init', { method: 'POST', body: '{}' })
    assert.equal(answer.status, 404)
    assert.match(JSON.parse(answer.text).message, /reserved/)
  })
})

test('a sandbox that is gone, one that never was, and one that sleeps', async () => {
  const sandbox = await Sandbox.create('base', { timeoutMs: 120_000 })
  const id = sandbox.sandboxId
  const notFound = async (about) => {
    for (const answer of [await byHeaders(about, 3000), await byName(`3000-${about}.${process.env.E2B_DOMAIN}`)]) {
      assert.equal(answer.status, 502)
      assert.deepEqual(JSON.parse(answer.text), { sandboxId: about, message: 'The sandbox was not found', code: 502 })
    }
  }
  try {
    await notFound('i00000000000000000000')
    assert.equal((await request('POST', `/sandboxes/${id}/pause`, {})).status, 204)
    await notFound(id)
  } finally {
    assert.equal(await sandbox.kill(), true)
  }
  await notFound(id)
  assert.equal(await sandbox.isRunning(), false)
})

test('traffic wakes a paused sandbox whose owner wished so', async () => {
  const sandbox = await Sandbox.create('base', { timeoutMs: 120_000, lifecycle: { onTimeout: 'pause', autoResume: true } })
  try {
    await serve(sandbox)
    const { pid } = (await sandbox.commands.list()).find((one) => one.args.join(' ').includes('server.py'))
    assert.equal((await request('POST', `/sandboxes/${sandbox.sandboxId}/pause`, {})).status, 204)
    assert.equal((await sandbox.getInfo()).state, 'paused')
    const woken = await byName(sandbox.getHost(3000), '/wake')
    assert.equal(woken.text.split('\n')[0], 'GET /wake')
    assert.equal((await sandbox.getInfo()).state, 'running')
    assert.ok((await sandbox.commands.list()).some((one) => one.pid === pid), 'it is the same program')
    assert.equal((await request('POST', `/sandboxes/${sandbox.sandboxId}/pause`, {})).status, 204)
    assert.equal((await sandbox.commands.run('echo awake')).stdout, 'awake\n', 'a command wakes it as well')
  } finally {
    await sandbox.kill()
  }
})

test('traffic that needs a token', async () => {
  const sandbox = await Sandbox.create('base', { timeoutMs: 120_000, network: { allowPublicTraffic: false } })
  try {
    assert.equal((await sandbox.commands.run('echo the agent has a token of its own')).exitCode, 0)
    await sandbox.files.write('/home/user/server.py', SERVER)
    await sandbox.commands.run('exec python3 server.py', { background: true, timeoutMs: 0 })
    const token = { headers: { 'e2b-traffic-access-token': sandbox.trafficAccessToken } }
    await eventually('it listens', async () => (await byHeaders(sandbox.sandboxId, 3000, '/', token)).status === 200)
    const missing = await byHeaders(sandbox.sandboxId, 3000)
    assert.equal(missing.status, 403)
    assert.match(JSON.parse(missing.text).message, /Token header 'e2b-traffic-access-token' is missing/)
    const wrong = await byHeaders(sandbox.sandboxId, 3000, '/', { headers: { 'e2b-traffic-access-token': 'guess' } })
    assert.equal(wrong.status, 403)
    assert.match(JSON.parse(wrong.text).message, /is invalid/)
    const inside = await byHeaders(sandbox.sandboxId, 3000, '/', token)
    assert.ok(!inside.text.includes(sandbox.trafficAccessToken), 'the program is not told the token')
  } finally {
    await sandbox.kill()
  }
})

test('the agent is asked for its token', async () => {
  const sandbox = await Sandbox.create('base', { timeoutMs: 120_000 })
  try {
    assert.equal((await byHeaders(sandbox.sandboxId, 49983, '/health')).status, 204)
    for (const where of ['/files?path=/etc/passwd', '/envs', '/metrics']) {
      const answer = await byHeaders(sandbox.sandboxId, 49983, where)
      assert.equal(answer.status, 401, where)
      assert.equal(JSON.parse(answer.text).code, 401)
    }
    const stranger = new Sandbox({ sandboxId: sandbox.sandboxId, envdVersion: '0.6.4', envdAccessToken: 'guess' })
    assert.match(`${await failure(stranger.commands.run('id'))}`, /unauth|access token/i)
  } finally {
    await sandbox.kill()
  }
})
