// git through the official JavaScript SDKs, with repositories inside the sandbox: there is no way out of it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { eachGeneration, failure } from './fixture.mjs'

eachGeneration('git', (given) => {
  const run = async (...args) => (await given.sandbox.commands.run(...args)).stdout
  const write = (path, text) => given.sandbox.files.write(path, text)

  test('from an empty repository to a clone of what was pushed', async () => {
    const { git } = given.sandbox
    const [origin, work, copy] = ['/home/user/origin.git', '/home/user/work', '/home/user/copy']
    await git.init(origin, { bare: true, initialBranch: 'main' })
    await git.init(work, { initialBranch: 'main' })
    await git.configureUser('Ada Example', 'ada@example.com')
    assert.equal(await git.getConfig('user.name'), 'Ada Example')
    assert.equal(await git.getConfig('user.nothing'), undefined)
    await git.setConfig('core.editor', 'true', { scope: 'local', path: work })
    assert.equal(await git.getConfig('core.editor', { scope: 'local', path: work }), 'true')

    await write(`${work}/one.txt`, 'one\n')
    await write(`${work}/dir/two words.txt`, 'two\n')
    let status = await git.status(work)
    assert.deepEqual([status.currentBranch, status.isClean, status.hasUntracked], ['main', false, true])
    await git.add(work, { files: ['one.txt'] })
    status = await git.status(work)
    assert.deepEqual([status.stagedCount, status.untrackedCount], [1, 1])
    await git.add(work)
    await git.commit(work, 'first: "quoted" and ünïcödé', { authorName: 'Grace', authorEmail: 'grace@example.com' })
    assert.equal((await git.status(work)).isClean, true)
    assert.equal(await run(`git -C ${work} log --format='%an <%ae> %s'`), 'Grace <grace@example.com> first: "quoted" and ünïcödé\n')

    await git.createBranch(work, 'topic/change')
    let branches = await git.branches(work)
    assert.deepEqual([branches.currentBranch, [...branches.branches].sort()], ['topic/change', ['main', 'topic/change']])
    await write(`${work}/one.txt`, 'changed\n')
    const changed = (await git.status(work)).fileStatus[0]
    assert.deepEqual([changed.name, changed.status, changed.staged], ['one.txt', 'modified', false])
    await git.restore(work, { paths: ['one.txt'] })
    assert.equal(await given.sandbox.files.read(`${work}/one.txt`), 'one\n')
    await write(`${work}/one.txt`, 'changed\n')
    await git.add(work)
    await git.commit(work, 'second')
    await git.checkoutBranch(work, 'main')
    await git.deleteBranch(work, 'topic/change', { force: true })
    branches = await git.branches(work)
    assert.deepEqual([branches.currentBranch, branches.branches], ['main', ['main']])

    await git.remoteAdd(work, 'origin', origin)
    assert.equal(await git.remoteGet(work, 'origin'), origin)
    assert.equal(await git.remoteGet(work, 'nowhere'), undefined)
    assert.ok(await failure(git.push(work, { setUpstream: false })) instanceof Error)
    await git.push(work, { remote: 'origin', branch: 'main', setUpstream: true })
    await git.clone(`file://${origin}`, { path: copy, branch: 'main', depth: 1 })
    assert.equal(await given.sandbox.files.read(`${copy}/dir/two words.txt`), 'two\n')

    await write(`${work}/three.txt`, 'three\n')
    await git.add(work)
    await git.commit(work, 'third')
    status = await git.status(work)
    assert.deepEqual([status.upstream, status.ahead, status.behind], ['origin/main', 1, 0])
    await git.push(work)
    await git.pull(copy)
    assert.equal(await given.sandbox.files.read(`${copy}/three.txt`), 'three\n')
    await git.reset(copy, { mode: 'hard', target: 'HEAD~1' })
    assert.equal(await given.sandbox.files.exists(`${copy}/three.txt`), false)
  })

  test('failures are failures', async () => {
    const { git } = given.sandbox
    const missing = await failure(git.clone('file:///home/user/no-such-repository', { path: '/home/user/none' }))
    assert.ok(missing instanceof given.sdk.CommandExitError, `${missing}`)
    assert.equal(missing.exitCode, 128)
    assert.match(missing.stderr, /does not (exist|appear to be a git repository)/)
    const none = await failure(git.status('/home/user'))
    assert.match(none.stderr, /not a git repository/)
  })
})
