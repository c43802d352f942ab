// Watching directories through the official JavaScript SDKs: a stream of events until it is stopped.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { eachGeneration, eventually, failure } from './fixture.mjs'

eachGeneration('watching', (given) => {
  const run = (script, options) => given.sandbox.commands.run(script, options)

  /** Watches `path` and collects events; `saw(type, name)` waits for one. */
  async function watch(path, options = {}) {
    const watching = { events: [], exits: [] }
    const onExit = (error) => { watching.exits.push(error) }
    watching.handle = await given.sandbox.files.watchDir(path, (event) => { watching.events.push(event) }, { timeoutMs: 0, onExit, ...options })
    watching.saw = (type, name) => eventually(`${type} of ${name}`, () => watching.events.find((one) => one.type === type && one.name === name))
    return watching
  }

  test('creating, writing, changing modes, renaming and removing', async () => {
    await run('mkdir -p /home/user/watched')
    const watching = await watch('/home/user/watched')
    await run('echo hello >/home/user/watched/a.txt')
    await watching.saw('create', 'a.txt')
    await watching.saw('write', 'a.txt')
    await run('chmod 600 /home/user/watched/a.txt')
    await watching.saw('chmod', 'a.txt')
    await run('mv /home/user/watched/a.txt /home/user/watched/b.txt')
    await watching.saw('rename', 'a.txt')
    await watching.saw('create', 'b.txt')
    await run('rm /home/user/watched/b.txt')
    await watching.saw('remove', 'b.txt')
    await given.sandbox.files.write('/home/user/watched/through the api', 'x')
    await watching.saw('create', 'through the api')
    await watching.handle.stop()
    await eventually('it says that it stopped', () => watching.exits.length === 1)
    const { length } = watching.events
    await run('touch /home/user/watched/afterwards')
    await run('true')
    assert.equal(watching.events.length, length, 'nothing comes after the stop')
  })

  test('what lies deeper is told only where it was asked for', async () => {
    await run('mkdir -p /home/user/tree/old')
    const flat = await watch('/home/user/tree')
    const deep = await watch('/home/user/tree', { recursive: true })
    await run('echo x >/home/user/tree/old/file')
    await deep.saw('create', 'old/file')
    await run('mkdir -p /home/user/tree/new/deeper')
    await deep.saw('create', 'new')
    // A directory made a moment ago is watched as well; how soon is nobody's promise.
    await eventually('files in new directories are told', async () => {
      await run('echo x >>/home/user/tree/new/deeper/file')
      return deep.events.some((one) => one.name === 'new/deeper/file')
    })
    await run('touch /home/user/tree/top')
    await flat.saw('create', 'top')
    assert.ok(flat.events.every((one) => !one.name.includes('/')), JSON.stringify(flat.events))
    await flat.handle.stop()
    await deep.handle.stop()
  })

  test('with what is at the path', async () => {
    await run('mkdir -p /home/user/entries')
    const watching = await watch('/home/user/entries', { includeEntry: true })
    await given.sandbox.files.write('/home/user/entries/file', 'five!')
    const { entry } = await eventually('an event that knows the file', () => watching.events.find((one) => one.entry?.size === 5))
    assert.deepEqual([entry.name, entry.path, entry.type, entry.owner], ['file', '/home/user/entries/file', 'file', 'user'])
    await watching.handle.stop()
    const bare = await watch('/home/user/entries')
    await run('touch /home/user/entries/other')
    assert.equal((await bare.saw('create', 'other')).entry, undefined)
    await bare.handle.stop()
  })

  test('as another user, relative to that home', async () => {
    await run('mkdir -p /root/private', { user: 'root' })
    const watching = await watch('private', { user: 'root' })
    await run('touch /root/private/file', { user: 'root' })
    await watching.saw('create', 'file')
    await watching.handle.stop()
  })

  test('what cannot be watched', async () => {
    await run('touch /home/user/just-a-file')
    const missing = await failure(watch('/home/user/no-such-directory'))
    assert.ok(missing instanceof given.sdk.FileNotFoundError, `${missing}`)
    const file = await failure(watch('/home/user/just-a-file'))
    assert.ok(file instanceof given.sdk.InvalidArgumentError, `${file}`)
  })

  test('the time limit ends it with the reason', async () => {
    const watching = await watch('/home/user', { timeoutMs: 1_000 })
    await eventually('it ends', () => watching.exits.length === 1)
    assert.ok(watching.exits[0] instanceof given.sdk.TimeoutError, `${watching.exits[0]}`)
  })
})
