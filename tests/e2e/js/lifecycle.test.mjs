// A sandbox's whole life through the official JavaScript SDK: the newest (v2 routes) and an older generation (v1).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as newest from 'e2b'
import * as older from 'e2b-older'
import { eventually, request } from './fixture.mjs'

for (const [generation, sdk] of Object.entries({ newest, older })) {
  test(`a whole life, ${generation} SDK`, async () => {
    const { Sandbox } = sdk
    const metadata = { run: `${generation}-${process.pid}`, odd: 'a b=c&d' }
    const sandbox = await Sandbox.create('base', { metadata, envs: { GREETING: 'hello' }, timeoutMs: 120_000 })
    const id = sandbox.sandboxId
    const killed = []
    try {
      assert.equal(await sandbox.isRunning(), true)
      const info = await sandbox.getInfo()
      assert.equal(info.state, 'running')
      assert.deepEqual(info.metadata, metadata)
      assert.equal(info.cpuCount, 2)
      assert.ok(info.endAt > info.startedAt)

      const listed = await Sandbox.list({ query: { metadata, state: ['running'] } }).nextItems()
      assert.deepEqual(listed.map((one) => one.sandboxId), [id])
      const none = await Sandbox.list({ query: { metadata: { run: 'nobody' } } }).nextItems()
      assert.deepEqual(none, [])

      const greeting = await sandbox.commands.run('echo "$GREETING from $(whoami)" && echo kept > /home/user/file')
      assert.equal(greeting.stdout, 'hello from user\n')
      const failed = await sandbox.commands.run('exit 3').catch((error) => error)
      assert.equal(failed.exitCode, 3)
      const counting = await sandbox.commands.run('sleep 600', { background: true })

      await sandbox.setTimeout(300_000)
      assert.ok((await sandbox.getInfo()).endAt.getTime() - Date.now() > 200_000)
      await eventually('there are metrics', async () => (await sandbox.getMetrics()).length > 0)

      const pause = sandbox.pause ?? sandbox.betaPause
      await pause.call(sandbox)
      assert.equal(await sandbox.isRunning(), false)
      assert.equal((await sandbox.getInfo()).state, 'paused')
      const paused = await Sandbox.list({ query: { metadata, state: ['paused'] } }).nextItems()
      assert.deepEqual(paused.map((one) => one.sandboxId), [id])

      const resumed = await Sandbox.connect(id, { timeoutMs: 200_000 })
      assert.equal(await resumed.isRunning(), true)
      const processes = await resumed.commands.list()
      assert.ok(processes.some((one) => one.pid === counting.pid), 'processes live through a pause')
      assert.equal((await resumed.commands.run('cat /home/user/file')).stdout, 'kept\n')
      assert.equal(await resumed.commands.kill(counting.pid), true)

      if (sandbox.createSnapshot) {
        const snapshot = await resumed.createSnapshot()
        const copy = await Sandbox.create(snapshot.snapshotId, { timeoutMs: 60_000 })
        killed.push(copy.sandboxId)
        assert.equal((await copy.commands.run('cat /home/user/file')).stdout, 'kept\n')
        assert.equal(await copy.kill(), true)
        const snapshots = await Sandbox.listSnapshots({ sandboxId: id }).nextItems()
        assert.deepEqual(snapshots.map((one) => one.snapshotId), [snapshot.snapshotId])
        assert.equal(await Sandbox.deleteSnapshot(snapshot.snapshotId), true)
        assert.equal(await Sandbox.deleteSnapshot(snapshot.snapshotId), false)
      } else {
        assert.equal((await request('POST', `/sandboxes/${id}/snapshots`, {})).status, 201)
      }
      assert.equal(await resumed.kill(), true)
    } finally {
      for (const one of [id, ...killed]) await Sandbox.kill(one).catch(() => {})
    }
    assert.equal(await Sandbox.kill(id), false, 'killing what is gone')
    assert.equal(await sandbox.isRunning(), false)

    const { body: events } = await request('GET', `/events/sandboxes/${id}?limit=100&orderAsc=true`)
    const types = events.map((event) => event.type.replace('sandbox.lifecycle.', ''))
    assert.deepEqual(types, ['created', 'updated', 'paused', 'resumed', 'checkpointed', 'killed'])
    const executions = new Set(events.map((event) => event.sandboxExecutionId))
    assert.equal(executions.size, 2, 'one execution before the pause, one after')
    assert.equal(events[1].eventData.set_timeout.length, '2025-08-06T20:59:59Z'.length)
    assert.ok(events[2].eventData.execution.execution_time > 0)
    assert.equal(events[5].eventData.kill_reason, 'request')
    for (const event of events) assert.deepEqual(event.eventData.sandbox_metadata, metadata)
  })
}

test('a sandbox dies when its time is up, and the log says why', async () => {
  const sandbox = await newest.Sandbox.create({ timeoutMs: 1_000 })
  await eventually('it is gone', async () => !(await sandbox.isRunning()))
  // Traffic stops when the kill begins; the event is committed when it is done.
  let events = []
  await eventually('its death is in the history', async () => {
    events = (await request('GET', `/events/sandboxes/${sandbox.sandboxId}`)).body
    return events.length > 1
  })
  assert.deepEqual(events.map((event) => event.eventData?.kill_reason ?? event.type), ['timeout', 'sandbox.lifecycle.created'])
  const late = events[0].eventData.execution.execution_time - 1_000
  assert.ok(late >= 0, `not before its time: ${late} ms`)
})

test('a list is read page by page', async () => {
  const metadata = { run: `pages-${process.pid}` }
  const made = await Promise.all([1, 2, 3].map(() => newest.Sandbox.create({ metadata, timeoutMs: 60_000 })))
  try {
    const seen = []
    const pages = newest.Sandbox.list({ limit: 2, query: { metadata } })
    while (pages.hasNext) seen.push((await pages.nextItems()).map((one) => one.sandboxId))
    assert.deepEqual(seen.map((page) => page.length), [2, 1])
    assert.deepEqual(new Set(seen.flat()), new Set(made.map((one) => one.sandboxId)))
  } finally {
    await Promise.all(made.map((one) => one.kill()))
  }
})

test('errors arrive as the errors the SDK knows', async () => {
  await assert.rejects(newest.Sandbox.create({ apiKey: `e2b_${'0'.repeat(40)}` }), newest.AuthenticationError)
  await assert.rejects(newest.Sandbox.connect('i00000000000000000000'), newest.NotFoundError)
  await assert.rejects(newest.Sandbox.create('no-such-template'), /no-such-template/)
})
