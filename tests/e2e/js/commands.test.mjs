// Commands through the official JavaScript SDKs: output, exit codes, environment, users, time limits, input, lists,
// reconnecting.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { eachGeneration, eventually, failure, here, sha256 } from './fixture.mjs'

eachGeneration('commands', (given) => {
  const run = (...args) => given.sandbox.commands.run(...args)
  const isListed = async (pid) => (await given.sandbox.commands.list()).some((one) => one.pid === pid)

  test('standard output and standard error come apart', async () => {
    const result = await run('echo to stdout; echo to stderr >&2; printf "no newline"')
    assert.equal(result.stdout, 'to stdout\nno newline')
    assert.equal(result.stderr, 'to stderr\n')
    assert.equal(result.exitCode, 0)
    assert.equal(result.error, undefined)
  })

  test('exit codes arrive as they are, with the output up to then', async () => {
    for (const code of [1, 2, 3, 77, 126, 127, 128, 130, 255]) {
      const error = await failure(run(`echo out; echo err >&2; exit ${code}`))
      assert.ok(error instanceof given.sdk.CommandExitError, `${error}`)
      assert.deepEqual([error.exitCode, error.stdout, error.stderr], [code, 'out\n', 'err\n'])
      assert.equal(error.error, `exit status ${code}`)
    }
    assert.equal((await failure(run('no-such-program-anywhere'))).exitCode, 127)
    assert.equal((await failure(run('/etc/passwd'))).exitCode, 126)
  })

  test('a command that a signal ended says which', async () => {
    const killed = await failure(run('kill -KILL $$'))
    assert.deepEqual([killed.exitCode, killed.error], [-1, 'signal: killed'])
    const terminated = await failure(run('kill -TERM $$'))
    assert.deepEqual([terminated.exitCode, terminated.error], [-1, 'signal: terminated'])
  })

  test('the environment: the sandbox tells who it is, a command may add and override', async () => {
    const shown = await run('echo "$E2B_SANDBOX|$E2B_SANDBOX_ID|$FROM_CREATE|$HOME|$USER|$LOGNAME"')
    assert.equal(shown.stdout, `true|${given.sandbox.sandboxId}|create|/home/user|user|user\n`)
    const odd = 'two words, "quotes", $dollar, \\ and\na new line, ünïcödé'
    const overridden = await run('printf "%s|%s" "$FROM_CREATE" "$ODD"', { envs: { FROM_CREATE: 'command', ODD: odd } })
    assert.equal(overridden.stdout, `command|${odd}`)
    assert.equal((await run('echo "$ODD$FROM_CREATE"')).stdout, 'create\n', 'one command\'s variables are not another\'s')
  })

  test('the working directory: home unless asked otherwise, and it must be there', async () => {
    assert.equal((await run('pwd')).stdout, '/home/user\n')
    assert.equal((await run('pwd', { cwd: '/usr/bin' })).stdout, '/usr/bin\n')
    assert.equal((await run('pwd', { user: 'root' })).stdout, '/root\n')
    const error = await failure(run('pwd', { cwd: '/no/such/place' }))
    assert.ok(error instanceof given.sdk.InvalidArgumentError, `${error}`)
    assert.match(error.message, /cwd '\/no\/such\/place' does not exist/)
  })

  test('users are real: ids, groups, files, and what they may do', async () => {
    assert.equal((await run('id -un; id -u; umask')).stdout.split('\n')[0], 'user')
    assert.equal((await run('id -un; id -u; id -g', { user: 'root' })).stdout, 'root\n0\n0\n')
    await run('echo secret >/root/mine && chmod 600 /root/mine', { user: 'root' })
    for (const attempt of ['touch /root/not-mine', 'cat /root/mine', 'chown user /home', 'kill -0 1']) {
      assert.match((await failure(run(attempt))).stderr, /[Pp]ermission denied|not permitted/, attempt)
    }
    const unknown = await failure(run('true', { user: 'nobody-of-that-name' }))
    assert.ok(unknown instanceof given.sdk.AuthenticationError, `${unknown}`)
    assert.match(unknown.message, /invalid username: 'nobody-of-that-name'/)
  })

  test('output comes while the command runs, and input goes in', async () => {
    let heard = ''
    const handle = await run('echo ready; while read -r line; do echo "got $line"; done; echo end', {
      background: true,
      stdin: true,
      onStdout: (data) => { heard += data },
    })
    await eventually('the first output', () => heard === 'ready\n')
    await given.sandbox.commands.sendStdin(handle.pid, 'one\n')
    await eventually('the first answer', () => heard === 'ready\ngot one\n')
    await given.sandbox.commands.sendStdin(handle.pid, 'ünïcödé\nthree')
    await given.sandbox.commands.sendStdin(handle.pid, ' in two pieces\n')
    await given.sandbox.commands.closeStdin(handle.pid)
    const result = await handle.wait()
    assert.equal(result.stdout, 'ready\ngot one\ngot ünïcödé\ngot three in two pieces\nend\n')
    assert.equal(heard, result.stdout)
    assert.equal(handle.exitCode, 0)
  })

  test('a lot of input arrives whole, at a program that takes its time', async () => {
    const text = randomBytes(1_500_000).toString('hex')
    const whole = await run('sleep 0.3; sha256sum', { background: true, stdin: true })
    for (let at = 0; at < text.length; at += 600_000) await whole.sendStdin(text.slice(at, at + 600_000))
    await whole.closeStdin()
    assert.equal((await whole.wait()).stdout, `${sha256(text)}  -\n`)
  })

  test('without input a command reads an end of file at once', async () => {
    assert.equal((await run('cat; echo "read $?"')).stdout, 'read 0\n')
    const handle = await run('sleep 600', { background: true })
    await assert.rejects(given.sandbox.commands.sendStdin(handle.pid, 'x'))
    assert.equal(await handle.kill(), true)
  })

  test('the time limit ends a command with all it started', async () => {
    const error = await failure(run('echo $$ >/tmp/leader; sleep 600 & echo $! >/tmp/child; wait', { timeoutMs: 2_000 }))
    assert.ok(error instanceof given.sdk.TimeoutError, `${error}`)
    await eventually('both are gone', async () => {
      const { stdout } = await run('for f in leader child; do test -d /proc/$(cat /tmp/$f) && echo $f; done; true')
      return stdout === ''
    })
    assert.ok((await given.sandbox.commands.list()).every((one) => !one.args.join(' ').includes('/tmp/leader')))
  })

  test('no time limit is none', async () => {
    const handle = await run('sleep 600', { background: true, timeoutMs: 0 })
    assert.equal(await isListed(handle.pid), true)
    assert.equal(await handle.kill(), true)
  })

  test('in the background: listed, waited for, killed', async () => {
    const handle = await run('read -r line; exit 5', { background: true, stdin: true, cwd: '/tmp', envs: { MARK: 'yes' } })
    const listed = (await given.sandbox.commands.list()).find((one) => one.pid === handle.pid)
    assert.equal(listed.cmd, '/bin/bash')
    assert.deepEqual(listed.args, ['-l', '-c', 'read -r line; exit 5'])
    assert.equal(listed.envs.MARK, 'yes')
    assert.equal(listed.cwd, '/tmp')
    assert.equal(handle.exitCode, undefined)
    await handle.sendStdin('go\n')
    const ended = await failure(handle.wait())
    assert.equal(ended.exitCode, 5)
    assert.equal(await isListed(handle.pid), false)

    const other = await run('sleep 600', { background: true })
    assert.equal(await given.sandbox.commands.kill(other.pid), true)
    const killed = await failure(other.wait())
    assert.deepEqual([killed.exitCode, killed.error], [-1, 'signal: killed'])
    assert.equal(await given.sandbox.commands.kill(other.pid), false, 'killing what has ended')
    assert.equal(await given.sandbox.commands.kill(4_000_000), false, 'killing what never was')
  })

  test('a second reader joins a running command; both hear its end', async () => {
    const first = await run('while read -r line; do echo "got $line"; done; exit 9', { background: true, stdin: true })
    let early = ''
    const second = await given.sandbox.commands.connect(first.pid, { onStdout: (data) => { early += data } })
    assert.equal(second.pid, first.pid)
    await given.sandbox.commands.sendStdin(first.pid, 'hello\n')
    await eventually('the second reader hears it', () => early === 'got hello\n')
    await given.sandbox.commands.closeStdin(first.pid)
    for (const handle of [first, second]) {
      const ended = await failure(handle.wait())
      assert.deepEqual([ended.exitCode, ended.stdout], [9, 'got hello\n'])
    }
    // Its end is kept for a while, for those who come late.
    const late = await given.sandbox.commands.connect(first.pid)
    assert.equal((await failure(late.wait())).exitCode, 9)
    const never = await failure(given.sandbox.commands.connect(4_000_000))
    assert.ok(never instanceof given.sdk.NotFoundError, `${never}`)
  })

  test('a command runs on when its reader leaves', async () => {
    const handle = await run('read -r line; echo "$line" >/tmp/after-disconnect', { background: true, stdin: true })
    await handle.disconnect()
    assert.equal(await isListed(handle.pid), true)
    await given.sandbox.commands.sendStdin(handle.pid, 'still here\n')
    await eventually('it wrote', async () => (await run('cat /tmp/after-disconnect 2>/dev/null || true')).stdout === 'still here\n')
  })

  test('a command outlives the program that started it', async () => {
    const name = given.generation === 'newest' ? 'e2b' : 'e2b-older'
    const source = `
      import { Sandbox } from '${name}'
      const sandbox = await Sandbox.connect('${given.sandbox.sandboxId}')
      const handle = await sandbox.commands.run('read -r x; echo lived >/tmp/outlived', { background: true, stdin: true, timeoutMs: 0 })
      process.stdout.write(String(handle.pid), () => process.kill(process.pid, 'SIGKILL'))`
    const args = ['--input-type=module', '--eval', source]
    const died = await failure(promisify(execFile)(process.execPath, args, { cwd: here, timeout: 60_000 }))
    assert.equal(died.signal, 'SIGKILL', `${died}`)
    const pid = Number(died.stdout)
    assert.equal(await isListed(pid), true)
    await given.sandbox.commands.sendStdin(pid, 'go on\n')
    await eventually('it went on', async () => (await run('cat /tmp/outlived 2>/dev/null || true')).stdout === 'lived\n')
  })

  test('megabytes of output arrive whole and in order', async () => {
    const result = await run('seq 1 600000; seq 1 50000 >&2')
    const numbers = (count) => Array.from({ length: count }, (_, n) => `${n + 1}\n`).join('')
    assert.equal(sha256(result.stdout), sha256(numbers(600_000)))
    assert.equal(sha256(result.stderr), sha256(numbers(50_000)))
  })

  test('characters are whole wherever the stream is cut', async () => {
    const pieces = await run("printf '\\342\\202'; sleep 0.1; printf '\\254'; sleep 0.1; printf '\\360\\237'; sleep 0.1; printf '\\230\\200'")
    assert.equal(pieces.stdout, '€😀')
    const long = await run("printf 'x'; printf '€%.0s' $(seq 1 60000)")
    assert.equal(sha256(long.stdout), sha256(`x${'€'.repeat(60_000)}`))
    assert.equal((await run("printf '\\377ok'")).stdout, '\ufffdok', 'what is no text is marked')
  })

  test('many at once', async () => {
    const results = await Promise.all(Array.from({ length: 40 }, (_, n) => run(`sleep 0.1; echo ${n}; echo e${n} >&2`)))
    assert.deepEqual(results.map((one) => one.stdout), results.map((_, n) => `${n}\n`))
    assert.deepEqual(results.map((one) => one.stderr), results.map((_, n) => `e${n}\n`))
  })

  test('a long script, and one full of quotes', async () => {
    const filler = `: ${'x'.repeat(100_000)}\n`
    assert.equal((await run(`${filler}echo done`)).stdout, 'done\n')
    assert.equal((await run(`echo 'single' "double" \\$HOME $'tab\\there' "$(printf '%s' 'nested "quotes"')"`)).stdout,
      'single double $HOME tab\there nested "quotes"\n')
  })

  test('orphans are reaped, and what a command leaves in the background does not hold it up', async () => {
    const result = await run('(sleep 0.2 & sleep 600 & disown -a) >/dev/null 2>&1; echo left')
    assert.equal(result.stdout, 'left\n')
    await eventually('no zombies', async () => (await run('grep -l "^State:.Z" /proc/[0-9]*/status || true')).stdout === '')
    await run('pkill -x sleep || true')
  })

  test('a stopped sandbox answers commands with an error of its own', async () => {
    const sandbox = await given.sdk.Sandbox.create('base', { timeoutMs: 60_000 })
    const handle = await sandbox.commands.run('sleep 600', { background: true })
    const waiting = failure(handle.wait())
    assert.equal(await sandbox.kill(), true)
    const cut = await waiting
    assert.ok(cut instanceof given.sdk.TimeoutError, `${cut}`)
    const error = await failure(sandbox.commands.run('true'))
    assert.ok(error instanceof given.sdk.SandboxNotFoundError, `${error}`)
    assert.ok(await failure(sandbox.commands.list()) instanceof given.sdk.TimeoutError)
  })
}, { envs: { FROM_CREATE: 'create' } })
