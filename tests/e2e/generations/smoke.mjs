// What a user of any generation of the JavaScript SDK does with a sandbox. Run by `cargo xtask e2e generations` with the
// package's name, once over TLS with the domain and the key alone, once over plain HTTP with the addresses that the
// server printed.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'

const name = process.argv[2]
const { Sandbox } = createRequire(new URL('js/package.json', import.meta.url))(name)
const [major, minor] = name.split('-')[1].split('.').map(Number)
const isFrom = (first) => major > first[0] || (major === first[0] && minor >= first[1])

// Before, an SDK knew no other way to a sandbox than https and a name below the domain.
const FIRST_WITH_ADDRESSES = [2, 8]
const FIRST_WITH_PAUSE = [2, 0]

async function listed() {
  const found = await Sandbox.list()
  return (Array.isArray(found) ? found : await found.nextItems()).map((info) => info.sandboxId)
}

async function life() {
  const sandbox = await Sandbox.create({ timeoutMs: 120_000, metadata: { generation: name } })
  const id = sandbox.sandboxId
  try {
    const connected = await Sandbox.connect(id)
    assert.equal((await connected.commands.run('echo over $((6*7))')).stdout, 'over 42\n')
    await sandbox.files.write('/home/user/a b.txt', 'text')
    assert.equal(await connected.files.read('/home/user/a b.txt'), 'text')
    assert.ok((await connected.files.list('/home/user')).some((entry) => entry.name === 'a b.txt'))
    await sandbox.setTimeout(200_000)
    assert.ok((await listed()).includes(id))
    assert.ok(await connected.isRunning())
    if (isFrom(FIRST_WITH_PAUSE)) {
      await (connected.pause ?? connected.betaPause).call(connected)
      assert.ok(!(await sandbox.isRunning()))
      const resumed = await Sandbox.connect(id, { timeoutMs: 100_000 })
      assert.equal(await resumed.files.read('/home/user/a b.txt'), 'text')
    }
  } finally {
    await sandbox.kill()
  }
  assert.ok(!(await sandbox.isRunning()))
  assert.ok(!(await listed()).includes(id))
}

if (process.env.E2B_API_URL.startsWith('https://')) {
  delete process.env.E2B_API_URL
  delete process.env.E2B_SANDBOX_URL
  await life()
} else if (isFrom(FIRST_WITH_ADDRESSES)) {
  await life()
} else {
  console.log('knows no plain HTTP')
}
