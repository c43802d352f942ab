// Files through the official JavaScript SDKs: contents, ownership, directories, links, odd names, errors, a full disk.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { eachGeneration, failure, sha256 } from './fixture.mjs'

eachGeneration('files', (given) => {
  const run = async (...args) => (await given.sandbox.commands.run(...args)).stdout
  const files = () => given.sandbox.files
  const stat = (path, user = 'root') => run(`stat -c '%U:%G %a %s %F' '${path}'`, { user })

  test('text, bytes and blobs come back as they went in', async () => {
    const text = 'first line\nünïcödé €\r\n\ttabs and \u0000 zero\n'
    const written = await files().write('/home/user/text.txt', text)
    assert.deepEqual([written.path, written.name, written.type], ['/home/user/text.txt', 'text.txt', 'file'])
    assert.equal(await files().read('/home/user/text.txt'), text)
    const bytes = Uint8Array.from({ length: 256 }, (_, n) => n)
    await files().write('/home/user/bytes', bytes.buffer)
    assert.deepEqual(await files().read('/home/user/bytes', { format: 'bytes' }), bytes)
    await files().write('/home/user/blob', new Blob([bytes, 'tail']))
    const blob = await files().read('/home/user/blob', { format: 'blob' })
    assert.equal(Buffer.from(await blob.arrayBuffer()).toString('latin1'), `${Buffer.from(bytes).toString('latin1')}tail`)
    await files().write('/home/user/empty', '')
    assert.equal(await files().read('/home/user/empty'), '')
    assert.equal(await stat('/home/user/empty'), 'user:user 644 0 regular empty file\n')
  })

  test('a stream goes in and out in pieces', async () => {
    const pieces = Array.from({ length: 40 }, () => randomBytes(50_000))
    const stream = new ReadableStream({
      pull(controller) {
        const piece = pieces[this.at ?? 0]
        this.at = (this.at ?? 0) + 1
        if (piece === undefined) controller.close()
        else controller.enqueue(new Uint8Array(piece))
      },
    })
    await files().write('/home/user/stream', stream)
    const whole = Buffer.concat(pieces)
    assert.equal(await run('sha256sum < /home/user/stream'), `${sha256(whole)}  -\n`)
    const chunks = []
    for await (const chunk of await files().read('/home/user/stream', { format: 'stream' })) chunks.push(chunk)
    assert.equal(sha256(Buffer.concat(chunks)), sha256(whole))
  })

  test('what the kernel makes up is read to its end', async () => {
    for (const path of ['/proc/version', '/proc/mounts', '/proc/cpuinfo']) {
      const there = await run(`cat ${path}`)
      assert.equal(await files().read(path), there)
      assert.equal(Buffer.from(await files().read(path, { format: 'bytes' })).toString(), there)
      assert.equal(await (await files().read(path, { format: 'blob' })).text(), there)
      const chunks = []
      for await (const chunk of await files().read(path, { format: 'stream' })) chunks.push(chunk)
      assert.equal(Buffer.concat(chunks).toString(), there)
    }
    assert.match((await failure(files().read('/proc/self/status', { user: 'root' }))).message, /agent/)
    // The kernel itself refuses what others may not read.
    assert.match((await failure(files().read('/proc/self/environ', { user: 'root' }))).message, /403/)
  })

  test('writing again replaces all of it, and keeps the mode', async () => {
    await files().write('/home/user/again', 'a long first version')
    await run('chmod 600 /home/user/again')
    await files().write('/home/user/again', 'short')
    assert.equal(await files().read('/home/user/again'), 'short')
    assert.equal(await stat('/home/user/again'), 'user:user 600 5 regular file\n')
  })

  test('files and the directories made for them belong to who writes', async () => {
    await files().write('/home/user/new/deep/er/file', 'mine')
    assert.equal(await stat('/home/user/new/deep/er/file'), 'user:user 644 4 regular file\n')
    for (const path of ['/home/user/new', '/home/user/new/deep', '/home/user/new/deep/er']) {
      assert.match(await stat(path), /^user:user 755 \d+ directory\n$/)
    }
    await files().write('/root/roots', 'secret', { user: 'root' })
    assert.equal(await stat('/root/roots'), 'root:root 644 6 regular file\n')
    assert.equal(await files().read('roots', { user: 'root' }), 'secret', 'relative to the home of the user')
    await files().write('relative.txt', 'x')
    assert.equal(await files().read('~/relative.txt'), 'x')
    assert.equal((await files().getInfo('./relative.txt')).path, '/home/user/relative.txt')
    const unknown = await failure(files().write('x', 'x', { user: 'nobody-of-that-name' }))
    assert.ok(unknown instanceof given.sdk.AuthenticationError, `${unknown}`)
  })

  test('several files in one call', async () => {
    const entries = Array.from({ length: 30 }, (_, n) => ({ path: `/home/user/many/${n % 3}/file ${n}`, data: `number ${n}` }))
    const written = await files().write(entries)
    assert.deepEqual(written.map((one) => one.path), entries.map((one) => one.path))
    assert.deepEqual(await Promise.all(entries.map((one) => files().read(one.path))), entries.map((one) => one.data))
    assert.equal(await run('find many -type f | wc -l'), '30\n')
    const mixed = await files().writeFiles([
      { path: 'mixed/text', data: 'text' },
      { path: 'mixed/bytes', data: new Uint8Array([0, 255]).buffer },
      { path: 'mixed/blob', data: new Blob(['blob']) },
    ])
    assert.deepEqual(mixed.map((one) => one.name), ['text', 'bytes', 'blob'])
    assert.equal(await run('cat mixed/text mixed/blob; od -An -tx1 mixed/bytes'), 'textblob 00 ff\n')
  })

  test('what is at a path, in full', async () => {
    await files().write('/home/user/info.txt', 'hello')
    await run('chmod 640 /home/user/info.txt && touch -d 2020-02-03T04:05:06Z /home/user/info.txt')
    const info = await files().getInfo('/home/user/info.txt')
    assert.deepEqual(
      [info.name, info.path, info.type, info.size, info.mode, info.permissions, info.owner, info.group],
      ['info.txt', '/home/user/info.txt', 'file', 5, 0o640, '-rw-r-----', 'user', 'user'])
    assert.equal(info.modifiedTime.toISOString(), '2020-02-03T04:05:06.000Z')
    assert.equal(info.symlinkTarget, undefined)
    const directory = await files().getInfo('/root', { user: 'root' })
    assert.deepEqual([directory.type, directory.owner], ['dir', 'root'])
    assert.equal(await files().exists('/home/user/info.txt'), true)
    assert.equal(await files().exists('/home/user'), true)
    assert.equal(await files().exists('/home/user/info.txt/not-below-a-file'), false)
    assert.equal(await files().exists('/nowhere'), false)
  })

  test('directories: made, made already, in the way', async () => {
    assert.equal(await files().makeDir('/home/user/made/on/the/way'), true)
    assert.equal(await files().makeDir('/home/user/made/on/the/way'), false)
    assert.match(await stat('/home/user/made/on'), /^user:user 755 \d+ directory\n$/)
    assert.equal(await files().makeDir('made-by-root', { user: 'root' }), true)
    assert.match(await stat('/root/made-by-root'), /^root:root 755 \d+ directory\n$/)
    await files().write('/home/user/made/file', '')
    const error = await failure(files().makeDir('/home/user/made/file'))
    assert.ok(error instanceof given.sdk.InvalidArgumentError, `${error}`)
  })

  test('a listing goes as deep as asked', async () => {
    await run('mkdir -p tree/a/b/c tree/z && echo 1 >tree/one && echo 22 >tree/a/two && echo 333 >tree/a/b/three && ln -s ../one tree/a/link')
    const listed = async (depth) => {
      const entries = await files().list('/home/user/tree', depth === undefined ? {} : { depth })
      return entries.map((one) => `${one.path.replace('/home/user/tree/', '')}:${one.type}:${one.type === 'file' ? one.size : ''}`)
    }
    const first = ['a:dir:', 'one:file:2', 'z:dir:']
    assert.deepEqual((await listed()).sort(), first)
    assert.deepEqual((await listed(1)).sort(), first)
    const second = (await listed(2)).map((line) => line.split(':')[0]).sort()
    assert.deepEqual(second, ['a', 'a/b', 'a/link', 'a/two', 'one', 'z'])
    assert.ok((await listed(3)).includes('a/b/three:file:4'))
    assert.equal((await listed(9)).length, 8)
    const invalid = await failure(files().list('/home/user/tree', { depth: 0 }))
    assert.ok(invalid instanceof given.sdk.InvalidArgumentError, `${invalid}`)
    const missing = await failure(files().list('/home/user/no-tree'))
    assert.ok(missing instanceof given.sdk.FileNotFoundError, `${missing}`)
    const file = await failure(files().list('/home/user/tree/one'))
    assert.ok(file instanceof given.sdk.InvalidArgumentError, `${file}`)
    assert.match(file.message, /is not a directory/)
  })

  test('a directory of thousands', async () => {
    await run('mkdir crowd && cd crowd && seq -f "entry-%05g" 1 5000 | xargs touch')
    const entries = await files().list('/home/user/crowd')
    assert.equal(entries.length, 5000)
    assert.equal(new Set(entries.map((one) => one.name)).size, 5000)
    await files().remove('/home/user/crowd')
    assert.equal(await files().exists('/home/user/crowd'), false)
  })

  test('links: described by what they lead to, removed without it', async () => {
    await run('mkdir -p links && echo target >links/target && ln -s target links/good && ln -s nowhere links/broken && ln -s . links/dir')
    const good = await files().getInfo('/home/user/links/good')
    assert.equal(good.symlinkTarget, '/home/user/links/target')
    assert.equal(good.size, 7)
    assert.equal(await files().read('/home/user/links/good'), 'target\n')
    const broken = await files().getInfo('/home/user/links/broken')
    assert.equal(broken.symlinkTarget, 'nowhere')
    assert.ok(await failure(files().read('/home/user/links/broken')) instanceof given.sdk.FileNotFoundError)
    await files().write('/home/user/links/good', 'through the link\n')
    assert.equal(await run('cat links/target; readlink links/good'), 'through the link\ntarget\n')
    const names = (await files().list('/home/user/links')).map((one) => one.name).sort()
    assert.deepEqual(names, ['broken', 'dir', 'good', 'target'])
    await files().remove('/home/user/links/dir')
    await files().remove('/home/user/links/good')
    assert.equal(await files().read('/home/user/links/target'), 'through the link\n')
    await files().rename('/home/user/links/broken', '/home/user/links/moved')
    assert.equal(await run('readlink links/moved'), 'nowhere\n')
  })

  test('moving and removing', async () => {
    await files().write('/home/user/move/a', 'A')
    const moved = await files().rename('/home/user/move/a', '/home/user/move/new-place/b')
    assert.deepEqual([moved.path, moved.name, moved.type], ['/home/user/move/new-place/b', 'b', 'file'])
    assert.equal(await files().exists('/home/user/move/a'), false)
    await files().write('/home/user/move/c', 'C')
    await files().rename('/home/user/move/c', '/home/user/move/new-place/b')
    assert.equal(await files().read('/home/user/move/new-place/b'), 'C', 'what was there is replaced')
    const directory = await files().rename('/home/user/move/new-place', '/home/user/move/dir')
    assert.equal(directory.type, 'dir')
    assert.equal(await files().read('/home/user/move/dir/b'), 'C')
    const missing = await failure(files().rename('/home/user/move/nothing', '/home/user/move/x'))
    assert.ok(missing instanceof given.sdk.FileNotFoundError, `${missing}`)
    await files().remove('/home/user/move/dir/b')
    assert.equal(await files().exists('/home/user/move/dir/b'), false)
    await run('mkdir -p move/dir/x/y/z && touch move/dir/x/y/z/f && chmod 000 move/dir/x/y')
    await files().remove('/home/user/move')
    assert.equal(await files().exists('/home/user/move'), false)
    await files().remove('/home/user/move')
  })

  test('odd names', async () => {
    const names = ['with space', 'quotes\'"', 'percent%20', 'plus+sign', 'hash#question?', 'a&b=c;d', 'ünïcödé €', '日本語',
      '-dash', '.hidden', 'back\\slash', 'new\nline', 'tab\there', `long-${'n'.repeat(200)}`, '*', '$HOME', '😀']
    for (const name of names) {
      const path = `/home/user/odd/${name}`
      const written = await files().write(path, `in ${name}`)
      assert.deepEqual([written.path, written.name], [path, name])
      assert.equal(await files().read(path), `in ${name}`)
      assert.equal((await files().getInfo(path)).name, name)
    }
    const listed = (await files().list('/home/user/odd')).map((one) => one.name)
    assert.deepEqual(listed.sort(), [...names].sort())
    // Several at once take the name from inside the form.
    const odd = names.filter((name) => !/[\n"\\]/.test(name))
    await files().write(odd.map((name) => ({ path: `/home/user/odd-many/${name}`, data: name })))
    assert.deepEqual((await files().list('/home/user/odd-many')).map((one) => one.name).sort(), [...odd].sort())
    const tooLong = await failure(files().write(`/home/user/${'n'.repeat(300)}`, 'x'))
    assert.ok(tooLong instanceof given.sdk.InvalidArgumentError, `${tooLong}`)
  })

  test('errors arrive as the errors the SDK knows', async () => {
    const missing = await failure(files().read('/home/user/missing'))
    assert.ok(missing instanceof given.sdk.FileNotFoundError, `${missing}`)
    assert.match(missing.message, /missing/)
    const directory = await failure(files().read('/home/user'))
    assert.ok(directory instanceof given.sdk.InvalidArgumentError, `${directory}`)
    const over = await failure(files().write('/home/user', 'x'))
    assert.ok(over instanceof given.sdk.InvalidArgumentError, `${over}`)
    assert.ok(await failure(files().getInfo('/home/user/missing')) instanceof given.sdk.FileNotFoundError)
    assert.ok(await failure(files().write('/etc/passwd/below', 'x')) instanceof given.sdk.SandboxError)
  })

  test('what is no file does not hold anybody up', async () => {
    await run('mkfifo /home/user/fifo')
    assert.ok(await failure(files().read('/home/user/fifo')) instanceof given.sdk.InvalidArgumentError)
    assert.ok(await failure(files().write('/home/user/fifo', 'x')) instanceof given.sdk.InvalidArgumentError)
    assert.ok(await failure(files().read('/dev/zero')) instanceof given.sdk.InvalidArgumentError)
    await files().remove('/home/user/fifo')
    await run('truncate -s 3G sparse')
    assert.equal((await files().getInfo('/home/user/sparse')).size, 3 * 1024 ** 3)
    await files().remove('/home/user/sparse')
  })

  test('a full disk is said, and the sandbox lives on', async () => {
    const sandbox = await given.sdk.Sandbox.create('base', { timeoutMs: 300_000 })
    try {
      await sandbox.commands.run('fallocate -l $(($(stat -f -c "%a*%S" /)-65536)) /fill; dd if=/dev/zero of=/rest bs=4k 2>/dev/null; true', { user: 'root' })
      const error = await failure(sandbox.files.write('/home/user/too-much', 'x'.repeat(1_000_000)))
      assert.ok(error instanceof given.sdk.NotEnoughSpaceError, `${error}`)
      assert.match(error.message, /not enough disk space/)
      assert.equal((await sandbox.commands.run('echo alive')).stdout, 'alive\n')
      assert.equal(await sandbox.isRunning(), true)
      await sandbox.files.remove('/fill')
      await sandbox.files.write('/home/user/too-much', 'fits now')
      assert.equal(await sandbox.files.read('/home/user/too-much'), 'fits now')
    } finally {
      await sandbox.kill()
    }
  })
})
