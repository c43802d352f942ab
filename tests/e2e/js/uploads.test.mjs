// Files through the official JavaScript SDKs, the newer ways: compressed, with metadata, as octet streams.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { eachGeneration, failure, plainRequest, sha256 } from './fixture.mjs'

eachGeneration('uploads', (given) => {
  const files = () => given.sandbox.files
  const run = async (...args) => (await given.sandbox.commands.run(...args)).stdout

  test('compressed on the way, not on the disk', async () => {
    const text = 'the same line again and again\n'.repeat(100_000)
    await files().write('/home/user/gzip.txt', text, { gzip: true })
    assert.equal(await run('sha256sum < gzip.txt'), `${sha256(text)}  -\n`)
    assert.equal(await files().read('/home/user/gzip.txt', { gzip: true }), text)
    const noise = randomBytes(500_000)
    await files().write('/home/user/gzip.bin', noise.buffer.slice(noise.byteOffset, noise.byteOffset + noise.length), { gzip: true })
    assert.equal(await run('sha256sum < gzip.bin'), `${sha256(noise)}  -\n`)
    assert.equal(sha256(await files().read('/home/user/gzip.bin', { format: 'bytes', gzip: true })), sha256(noise))
    await files().write('/home/user/empty.gz.txt', '', { gzip: true })
    assert.equal(await files().read('/home/user/empty.gz.txt', { gzip: true }), '')
  })

  test('a compressed stream', async () => {
    const piece = 'piece of a stream\n'
    const stream = new ReadableStream({
      start(controller) {
        for (let n = 0; n < 1000; n += 1) controller.enqueue(new TextEncoder().encode(piece))
        controller.close()
      },
    })
    await files().write('/home/user/gzip-stream', stream, { gzip: true })
    assert.equal(await files().read('/home/user/gzip-stream'), piece.repeat(1000))
  })

  test('downloads are compressed for those who ask, and only for them', async () => {
    const text = 'compress me, I am repetitive\n'.repeat(10_000)
    await files().write('/home/user/down.txt', text)
    const url = new URL(await given.sandbox.downloadUrl('/home/user/down.txt'))
    const headers = { 'E2b-Sandbox-Id': given.sandbox.sandboxId, 'E2b-Sandbox-Port': '49983' }
    const plain = await plainRequest(url.pathname + url.search, { headers })
    assert.deepEqual([plain.status, plain.headers['content-encoding'], plain.text], [200, undefined, text])
    const squeezed = await plainRequest(url.pathname + url.search, { headers: { ...headers, 'Accept-Encoding': 'gzip' } })
    assert.equal(squeezed.headers['content-encoding'], 'gzip')
    assert.ok(squeezed.bytes.length < text.length / 10)
    assert.equal(gunzipSync(squeezed.bytes).toString(), text)
  })

  test('what is no gzip is refused', async () => {
    const url = new URL(await given.sandbox.uploadUrl('/home/user/not-gzip'))
    const headers = {
      'E2b-Sandbox-Id': given.sandbox.sandboxId,
      'E2b-Sandbox-Port': '49983',
      'Content-Type': 'application/octet-stream',
      'Content-Encoding': 'gzip',
    }
    const refused = await plainRequest(url.pathname + url.search, { method: 'POST', headers, body: 'this is no gzip' })
    assert.equal(refused.status, 400)
    assert.equal(JSON.parse(refused.text).code, 400)
  })

  test('metadata stays with the file', async () => {
    const metadata = { owner: 'ada', 'with-dash': 'some words = more' }
    const written = await files().write('/home/user/tagged', 'x', { metadata })
    assert.deepEqual(written.metadata, metadata)
    assert.deepEqual((await files().getInfo('/home/user/tagged')).metadata, metadata)
    const listed = (await files().list('/home/user')).find((one) => one.name === 'tagged')
    assert.deepEqual(listed.metadata, metadata)
    const moved = await files().rename('/home/user/tagged', '/home/user/tagged-and-moved')
    assert.deepEqual(moved.metadata, metadata)
    await files().write('/home/user/untagged', 'x')
    assert.equal((await files().getInfo('/home/user/untagged')).metadata, undefined)
    const invalid = await failure(files().write('/home/user/tagged', 'x', { metadata: { 'not a name': 'x' } }))
    assert.ok(invalid instanceof given.sdk.InvalidArgumentError, `${invalid}`)
  })

  test('as an octet stream', async () => {
    await files().write('/home/user/octets/new', 'octets', { useOctetStream: true })
    assert.equal(await run('cat octets/new; stat -c %U octets/new'), 'octetsuser\n')
    const both = await files().write([{ path: 'octets/a', data: 'A' }, { path: 'octets/b', data: 'B' }], { useOctetStream: true, user: 'root' })
    assert.deepEqual(both.map((one) => one.path), ['/root/octets/a', '/root/octets/b'])
  })
})
