// Deliveries verified by the Standard Webhooks library and by the product description's own function: with each kind of
// secret, and while a secret is being changed.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Sandbox } from '@e2b/code-interpreter'
import { Webhook, WebhookVerificationError } from 'standardwebhooks'
import { descriptionVerifier, eventually, receiver, request } from './fixture.mjs'

const encoded = 'whsec_' + Buffer.from('twenty-four bytes, or so').toString('base64')
const plain = 'a secret that is no base64'

const library = (secret) => (secret.startsWith('whsec_') ? new Webhook(secret) : new Webhook(secret, { format: 'raw' }))

/** Whether the library takes the delivery for genuine. */
function isGenuine(secret, { headers, body }) {
  try {
    assert.deepEqual(library(secret).verify(body, headers), JSON.parse(body))
    return true
  } catch (error) {
    assert.ok(error instanceof WebhookVerificationError, String(error))
    return false
  }
}

/** A webhook for one test's sandbox; `next` makes something happen to it and answers the delivery of that. */
async function registered(purpose, signatureSecret, use) {
  const hook = await receiver()
  const sandbox = await Sandbox.create('base', { metadata: { purpose }, timeoutMs: 300_000 })
  const { status, body: webhook } = await request('POST', '/events/webhooks', {
    name: purpose,
    url: hook.url,
    events: ['sandbox.lifecycle.updated'],
    filter: { metadata: { purpose } },
    signatureSecret,
  })
  assert.equal(status, 201, JSON.stringify(webhook))
  const next = async () => {
    const n = hook.received.length
    await sandbox.setTimeout(300_000)
    await eventually('it is delivered', () => hook.received.length > n)
    return hook.received[n]
  }
  try {
    await use(webhook.id, next)
  } finally {
    await request('DELETE', `/events/webhooks/${webhook.id}`)
    await sandbox.kill()
    await hook.close()
  }
}

for (const [kind, secret] of Object.entries({ encoded, plain })) {
  test(`a delivery signed with a secret that is ${kind}`, () =>
    registered(`standard ${kind}`, secret, async (_, next) => {
      const verify = await descriptionVerifier()
      const delivery = await next()
      assert.ok(isGenuine(secret, delivery))
      assert.ok(verify(secret, delivery.body, delivery.headers['e2b-signature']))
      assert.equal(delivery.headers['webhook-id'], JSON.parse(delivery.body).id, 'the same for every attempt')
      assert.equal(delivery.headers['e2b-signature-previous'], undefined)
      assert.ok(!isGenuine('another secret', delivery))
      assert.ok(!isGenuine(secret, { ...delivery, body: delivery.body.replace('.updated', '.created') }))
      const old = String(Number(delivery.headers['webhook-timestamp']) - 3_600)
      assert.ok(!isGenuine(secret, { ...delivery, headers: { ...delivery.headers, 'webhook-timestamp': old } }))
    }))
}

test('the signature holds for what a framework has parsed, of every kind of event', async () => {
  const hook = await receiver()
  const purpose = 'parsed before it is verified'
  const { status, body: webhook } = await request('POST', '/events/webhooks', {
    name: purpose,
    url: hook.url,
    events: ['created', 'updated', 'paused', 'resumed', 'checkpointed', 'killed'].map((kind) => `sandbox.lifecycle.${kind}`),
    filter: { metadata: { purpose } },
    signatureSecret: plain,
  })
  assert.equal(status, 201, JSON.stringify(webhook))
  try {
    // Keys that look like array indices, which JavaScript moves to the front.
    const sandbox = await Sandbox.create('base', { metadata: { purpose, 10: 'ten', 2: 'two', '-': 'x' }, timeoutMs: 300_000 })
    await eventually('there are samples', async () => (await sandbox.getMetrics()).length > 0)
    await sandbox.setTimeout(200_000)
    await sandbox.pause()
    const resumed = await Sandbox.connect(sandbox.sandboxId)
    await resumed.createSnapshot()
    await resumed.kill()
    await eventually('all are delivered', () => new Set(hook.received.map(({ body }) => JSON.parse(body).type)).size === 6)
    const verify = await descriptionVerifier()
    for (const { headers, body } of hook.received) {
      const again = JSON.stringify(JSON.parse(body))
      assert.equal(again, String(body))
      assert.ok(verify(plain, again, headers['e2b-signature']))
    }
    const killed = hook.received.map(({ body }) => JSON.parse(body)).find(({ type }) => type.endsWith('.killed'))
    assert.ok(killed.event_data.last_samples, 'the event with the most numbers has them')
  } finally {
    await request('DELETE', `/events/webhooks/${webhook.id}`)
    await hook.close()
  }
})

test('while a secret is being changed both are good, and afterwards only the new one', () =>
  registered('standard rotation', plain, async (id, next) => {
    const verify = await descriptionVerifier()
    const change = async (body) => {
      const { status, body: changed } = await request('POST', `/events/webhooks/${id}/secret`, body)
      assert.equal(status, 200, JSON.stringify(changed))
      return changed
    }
    const { signatureSecret: drawn, previousValidUntil } = await change({ overlapSeconds: 3_600 })
    assert.match(drawn, /^whsec_/)
    assert.ok(new Date(previousValidUntil) > new Date())
    const during = await eventually('the change holds', async () => {
      const delivery = await next()
      return isGenuine(drawn, delivery) && delivery
    })
    assert.ok(isGenuine(plain, during), 'the old secret is still good')
    assert.ok(verify(drawn, during.body, during.headers['e2b-signature']))
    assert.ok(verify(plain, during.body, during.headers['e2b-signature-previous']))
    assert.equal(during.headers['webhook-signature'].split(' ').length, 2)
    assert.ok(!isGenuine('another secret', during))

    await change({ signatureSecret: encoded, overlapSeconds: 0 })
    const after = await eventually('the change holds', async () => {
      const delivery = await next()
      return isGenuine(encoded, delivery) && delivery
    })
    assert.ok(!isGenuine(drawn, after) && !isGenuine(plain, after), 'the old ones are good no longer')
    assert.equal(after.headers['e2b-signature-previous'], undefined)
  }))

test('webhooks given with a sandbox hear of its beginning and of its end', async () => {
  const hook = await receiver()
  const events = ['sandbox.lifecycle.created', 'sandbox.lifecycle.killed']
  const { status, body: sandbox } = await request('POST', '/sandboxes', {
    templateID: 'base',
    timeout: 300,
    webhooks: [{ url: hook.url, events, signatureSecret: encoded }],
  })
  assert.equal(status, 201, JSON.stringify(sandbox))
  try {
    const other = await Sandbox.create('base', { timeoutMs: 60_000 })
    await other.kill()
    await Sandbox.kill(sandbox.sandboxID)
    await eventually('both are delivered', () => hook.received.length >= 2)
    const heard = hook.received.map(({ body }) => JSON.parse(body))
    assert.deepEqual(heard.map((event) => [event.sandboxId, event.type]), events.map((type) => [sandbox.sandboxID, type]))
    assert.ok(hook.received.every((delivery) => isGenuine(encoded, delivery)))
  } finally {
    const { body: webhooks } = await request('GET', '/events/webhooks')
    for (const { id } of webhooks.filter((webhook) => webhook.sandboxID === sandbox.sandboxID)) {
      await request('DELETE', `/events/webhooks/${id}`)
    }
    await hook.close()
  }
})
