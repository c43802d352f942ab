// Signed file URLs of the official JavaScript SDKs, used as anybody would who was handed one: no header says which
// sandbox is meant.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { eachGeneration } from './fixture.mjs'

eachGeneration('file URLs', (given) => {
  const files = () => given.sandbox.files
  const upload = (url, text) => {
    const form = new FormData()
    form.append('file', new Blob([text]), 'ignored-name')
    return fetch(url, { method: 'POST', body: form })
  }

  test('download and upload, without and with an expiry', async () => {
    for (const options of [{}, { useSignatureExpiration: 60 }]) {
      await files().write('/home/user/signed file.txt', 'for you')
      const down = await given.sandbox.downloadUrl('/home/user/signed file.txt', options)
      assert.equal(new URL(down).searchParams.has('signature_expiration'), options.useSignatureExpiration !== undefined)
      const got = await fetch(down)
      assert.deepEqual([got.status, await got.text()], [200, 'for you'])
      const ranged = await fetch(down, { headers: { Range: 'bytes=4-' } })
      assert.deepEqual([ranged.status, await ranged.text()], [206, 'you'])
      const up = await given.sandbox.uploadUrl('/home/user/uploaded.txt', options)
      const put = await upload(up, `uploaded with ${JSON.stringify(options)}`)
      assert.equal(put.status, 200)
      assert.equal((await put.json())[0].path, '/home/user/uploaded.txt')
      assert.equal(await files().read('/home/user/uploaded.txt'), `uploaded with ${JSON.stringify(options)}`)
    }
  })

  test('what is downloaded has a type and its name, and is never a page', async () => {
    for (const [name, type, disposition] of [
      ['report.pdf', 'application/pdf', 'inline; filename="report.pdf"'],
      ['page.html', 'application/octet-stream', 'attachment; filename="page.html"'],
      ['übung "1".txt', 'text/plain; charset=utf-8', `inline; filename="_bung _1_.txt"; filename*=UTF-8''%C3%BCbung%20%221%22.txt`],
    ]) {
      await files().write(`/home/user/${name}`, '<script>alert(1)</script>')
      const got = await fetch(await given.sandbox.downloadUrl(`/home/user/${name}`))
      assert.equal(got.headers.get('content-type'), type)
      assert.equal(got.headers.get('content-disposition'), disposition)
      assert.equal(got.headers.get('x-content-type-options'), 'nosniff')
      assert.equal(await got.text(), '<script>alert(1)</script>')
    }
    // What has no length comes whole as well.
    const version = await fetch(await given.sandbox.downloadUrl('/proc/version'))
    assert.equal(await version.text(), await files().read('/proc/version'))
  })

  test('for another user', async () => {
    await files().write('/root/roots.txt', 'of root', { user: 'root' })
    const got = await fetch(await given.sandbox.downloadUrl('roots.txt', { user: 'root' }))
    assert.deepEqual([got.status, await got.text()], [200, 'of root'])
    await upload(await given.sandbox.uploadUrl('new.txt', { user: 'root' }), 'by root')
    assert.equal((await files().getInfo('/root/new.txt')).owner, 'root')
  })

  test('a signature is good for one thing only', async () => {
    await files().write('/home/user/a.txt', 'a')
    await files().write('/home/user/b.txt', 'b')
    const good = new URL(await given.sandbox.downloadUrl('/home/user/a.txt'))
    const changed = (change) => {
      const url = new URL(good)
      change(url.searchParams)
      return fetch(url)
    }
    assert.equal((await fetch(good)).status, 200)
    const refused = [
      await changed((query) => query.set('path', '/home/user/b.txt')),
      await changed((query) => query.set('username', 'root')),
      await changed((query) => query.set('signature', `v1_${'A'.repeat(43)}`)),
      await changed((query) => query.set('signature_expiration', String(Math.floor(Date.now() / 1000) + 3600))),
      await upload(good, 'not with a signature for reading'),
    ]
    for (const answer of refused) {
      assert.equal(answer.status, 401)
      assert.equal((await answer.json()).code, 401)
    }
    assert.equal(await files().read('/home/user/a.txt'), 'a')
  })

  test('an expired one, and one for a file that is not there', async () => {
    await files().write('/home/user/late.txt', 'late')
    const late = await fetch(await given.sandbox.downloadUrl('/home/user/late.txt', { useSignatureExpiration: -60 }))
    assert.equal(late.status, 401)
    assert.match((await late.json()).message, /expired/)
    const missing = await fetch(await given.sandbox.downloadUrl('/home/user/never.txt'))
    assert.equal(missing.status, 404)
    assert.equal((await missing.json()).code, 404)
  })

  test('a sandbox that is gone takes its URLs with it', async () => {
    const sandbox = await given.sdk.Sandbox.create('base', { timeoutMs: 60_000 })
    await sandbox.files.write('/home/user/x', 'x')
    const url = await sandbox.downloadUrl('/home/user/x')
    assert.equal((await fetch(url)).status, 200)
    await sandbox.kill()
    const gone = await fetch(url)
    assert.ok(gone.status >= 400 && gone.status < 600, `${gone.status}`)
    assert.notEqual(await gone.text(), 'x')
  })
})
