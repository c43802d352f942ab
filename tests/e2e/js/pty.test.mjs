// Terminals through the official JavaScript SDKs: input, size, signals, a second reader, their end.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { eachGeneration, eventually, failure } from './fixture.mjs'

eachGeneration('terminals', (given) => {
  const encode = (text) => new TextEncoder().encode(text)

  /** A terminal, what it showed so far, and its input. */
  async function open(options = {}) {
    const decoder = new TextDecoder()
    const terminal = { screen: '' }
    const onData = (data) => { terminal.screen += decoder.decode(data, { stream: true }) }
    terminal.handle = await given.sandbox.pty.create({ cols: 80, rows: 24, timeoutMs: 0, onData, ...options })
    terminal.pid = terminal.handle.pid
    terminal.type = (text) => given.sandbox.pty.sendInput(terminal.pid, encode(text))
    terminal.shows = (pattern) => eventually(`${pattern} in ${JSON.stringify(terminal.screen)}`, () => pattern.test(terminal.screen))
    return terminal
  }

  test('a shell that reads what is typed, with the size it was given', async () => {
    const terminal = await open({ cols: 101, rows: 33, envs: { MARK: 'set here' }, cwd: '/usr/bin' })
    await terminal.type('echo "size: $(stty size)"; tty; echo "$TERM|$MARK|$PWD|$(id -un)"\n')
    await terminal.shows(/size: 33 101\r\n\/dev\/pts\/\d+\r\nxterm-256color\|set here\|\/usr\/bin\|user\r\n/)
    await given.sandbox.pty.resize(terminal.pid, { cols: 120, rows: 50 })
    await terminal.type('echo "now: $(stty size)"\n')
    await terminal.shows(/now: 50 120\r\n/)
    await terminal.type('exit 0\n')
    assert.equal((await terminal.handle.wait()).exitCode, 0)
  })

  test('keys are keys: an interrupt interrupts, an end of file ends', async () => {
    const terminal = await open()
    await terminal.type("trap 'echo caught' INT; echo rea''dy\n")
    await terminal.shows(/ready\r\n/)
    await terminal.type('sleep 600\n')
    // The terminal echoes the line when the shell has read it; only then is there somebody to interrupt.
    await eventually('sleep runs', async () => (await given.sandbox.commands.run('pgrep -x sleep || true')).stdout !== '')
    await terminal.type('\u0003')
    await terminal.shows(/caught/)
    await terminal.type("echo ünïcödé€\n")
    await terminal.shows(/ünïcödé€\r\n/)
    await terminal.type('\u0004')
    const ended = await terminal.handle.wait().catch((error) => error)
    assert.ok(ended.exitCode === 0 || ended.exitCode === 130, `${ended.exitCode}`)
  })

  test('as root', async () => {
    const terminal = await open({ user: 'root' })
    await terminal.type('id -u; stat -c %U "$(tty)"\n')
    await terminal.shows(/\b0\r\nroot\r\n/)
    assert.equal(await given.sandbox.pty.kill(terminal.pid), true)
    assert.equal((await failure(terminal.handle.wait())).error, 'signal: killed')
    assert.equal(await given.sandbox.pty.kill(terminal.pid), false)
  })

  test('it is listed, lives on without a reader, and another may join', async () => {
    const terminal = await open()
    const listed = (await given.sandbox.commands.list()).find((one) => one.pid === terminal.pid)
    assert.deepEqual([listed.cmd, listed.args], ['/bin/bash', ['-i', '-l']])
    await terminal.handle.disconnect()
    let screen = ''
    const joined = await given.sandbox.pty.connect(terminal.pid, { onData: (data) => { screen += new TextDecoder().decode(data) } })
    await terminal.type("echo he''llo again\n")
    await eventually('the second reader sees it', () => /hello again\r\n/.test(screen))
    assert.equal(await joined.kill(), true)
    assert.equal((await failure(joined.wait())).exitCode, -1)
    assert.ok(await failure(given.sandbox.pty.connect(4_000_000)) instanceof given.sdk.NotFoundError)
  })

  test('a full screen program and a flood', async () => {
    const terminal = await open()
    await terminal.type("seq 1 20000; echo flood''ed\n")
    await terminal.shows(/19999\r\n20000\r\n(?:.*\r?\n?)*flooded/)
    const numbers = terminal.screen.match(/^\d+\r$/gm).map(Number)
    assert.deepEqual(numbers, Array.from({ length: 20_000 }, (_, n) => n + 1))
    assert.equal(await terminal.handle.kill(), true)
  })

  test('the time limit ends it', async () => {
    const terminal = await open({ timeoutMs: 2_000 })
    const error = await failure(terminal.handle.wait())
    assert.ok(error instanceof given.sdk.TimeoutError, `${error}`)
    await eventually('it is gone', async () => !(await given.sandbox.commands.list()).some((one) => one.pid === terminal.pid))
  })
})
