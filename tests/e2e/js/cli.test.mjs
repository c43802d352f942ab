// The official CLI: list, info, metrics, pause, kill.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Sandbox } from 'e2b'
import { cli, eventually, request } from './fixture.mjs'

test('the five commands', async () => {
  const sandbox = await Sandbox.create('base', { timeoutMs: 120_000, metadata: { who: 'cli' } })
  const id = sandbox.sandboxId
  try {
    await eventually('there are metrics', async () => (await sandbox.getMetrics()).length > 1)

    const listed = JSON.parse((await cli('sandbox', 'list', '--format', 'json')).stdout)
    assert.ok(listed.some((one) => one.sandboxId === id))
    assert.match((await cli('sandbox', 'list')).stdout, new RegExp(id))

    const info = await cli('sandbox', 'info', id)
    assert.match(info.stdout, /Running|running/)
    assert.match(info.stdout, new RegExp(id))

    const metrics = await cli('sandbox', 'metrics', id)
    const line = /\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ\]\s+CPU:\s+[\d.]+% \/\s+2 Cores \| Memory:\s+\d+ \/ 512\s+MiB \| Disk:\s+\d+ \/ \d+\s+MiB/
    assert.match(metrics.stdout, line)

    await cli('sandbox', 'pause', id)
    assert.equal((await sandbox.getInfo()).state, 'paused')
    await cli('sandbox', 'kill', id)
    assert.equal((await request('GET', `/sandboxes/${id}`)).status, 404)
  } finally {
    await Sandbox.kill(id).catch(() => {})
  }
})
