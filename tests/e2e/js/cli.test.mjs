// The official CLI: list, info, metrics, logs, exec, connect, pause, kill.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Sandbox } from 'e2b'
import { cli, eventually, request, terminal } from './fixture.mjs'

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

test('logs: what processes wrote, and the end of following', async () => {
  const sandbox = await Sandbox.create('base', { timeoutMs: 120_000 })
  const id = sandbox.sandboxId
  try {
    const following = cli('sandbox', 'logs', id, '--follow', '--format', 'json')
    await sandbox.commands.run('echo hello; echo oh >&2').catch(() => {})
    const lines = async (...options) => {
      const { stdout } = await cli('sandbox', 'logs', id, '--format', 'json', ...options)
      return stdout.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line))
    }
    await eventually('the line is there', async () => (await lines()).some((line) => line.message === 'oh'))
    const [created] = await lines()
    assert.equal(created.logger, 'sandscope')
    assert.equal(created.event_type, 'sandbox.lifecycle.created')
    const hello = (await lines()).find((line) => line.message === 'hello')
    assert.equal(hello.logger, 'process')
    assert.equal(hello.stream, 'stdout')
    assert.equal(hello.level, 'info')
    assert.ok(!(await lines('--level', 'WARN')).some((line) => line.message === 'hello'))
    assert.ok((await lines('--loggers', 'process')).every((line) => line.logger === 'process'))
    assert.match((await cli('sandbox', 'logs', id)).stdout, /INFO.*hello/)

    await sandbox.kill()
    const followed = (await following).stdout
    assert.match(followed, /hello/)
    const last = await eventually('the end is there', async () => {
      const all = await lines()
      return all.find((line) => line.event_type === 'sandbox.lifecycle.killed')
    })
    assert.match(last.message, /^sandbox killed: request/)
  } finally {
    await Sandbox.kill(id).catch(() => {})
  }
})

test('exec: output, exit code, options, input', async () => {
  const sandbox = await Sandbox.create('base', { timeoutMs: 120_000 })
  const id = sandbox.sandboxId
  try {
    const ran = await cli('sandbox', 'exec', id, 'echo out; echo err >&2')
    assert.equal(ran.stdout, 'out\n')
    assert.match(ran.stderr, /err/)
    const failed = await cli('sandbox', 'exec', id, 'exit 3').catch((error) => error)
    assert.equal(failed.code, 3)
    const asRoot = await cli('sandbox', 'exec', '--user', 'root', '--cwd', '/tmp', id, 'id -un; pwd')
    assert.equal(asRoot.stdout, 'root\n/tmp\n')
  } finally {
    await Sandbox.kill(id).catch(() => {})
  }
})

test('connect: a terminal, and its exit', async () => {
  const sandbox = await Sandbox.create('base', { timeoutMs: 120_000 })
  const id = sandbox.sandboxId
  try {
    const session = terminal('sandbox', 'connect', id)
    // A shell that is just starting may not listen yet.
    await eventually('the shell answers', async () => {
      session.type('echo mar$((40+2))ker\r')
      // sleep: the pause between two tries
      await new Promise((resolve) => setTimeout(resolve, 500))
      return session.shown().includes('mar42ker')
    }, 40)
    session.type('echo $(tty | cut -c1-8) $(whoami)\r')
    await eventually('it is a terminal', async () => session.shown().includes('/dev/pts user'))
    session.type('exit\r')
    assert.equal(await session.ended, 0)
    assert.match(session.shown(), /Closing terminal connection/)
  } finally {
    await Sandbox.kill(id).catch(() => {})
  }
})
