// e2e: own server
// Every code sample of the product description, as printed.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Sandbox } from '@e2b/code-interpreter'
import { descriptionVerifier, eventually, receiver, request, runSample } from './fixture.mjs'

test('metrics through the SDK', async () => {
  const printed = await runSample('metrics.mjs')
  const [, id] = printed.match(/Sandbox created (i[0-9a-z]{20})/)
  for (const key of ['timestamp', 'cpuUsedPct', 'cpuCount', 'memUsed', 'memTotal', 'diskUsed', 'diskTotal']) {
    assert.match(printed, new RegExp(`${key}: \\S+`), `${key} is missing from: ${printed}`)
  }
  const samples = await eventually('there are two samples', async () => {
    const found = await Sandbox.getMetrics(id)
    return found.length >= 2 && found
  })
  for (const sample of samples) {
    assert.ok(sample.timestamp instanceof Date && !Number.isNaN(sample.timestamp.getTime()))
    assert.ok(sample.cpuUsedPct >= 0 && sample.cpuUsedPct <= 100)
    assert.ok(sample.memUsed > 0 && sample.memUsed < sample.memTotal)
    assert.ok(sample.diskUsed > 0 && sample.diskUsed < sample.diskTotal)
  }
  assert.equal(await Sandbox.kill(id), true)
})

test('the lifecycle events API', async () => {
  const printed = await runSample('events.mjs')
  assert.match(printed, /type: 'sandbox\.lifecycle\.created'/)
  for (const key of ['version', 'id', 'eventData', 'sandboxBuildId', 'sandboxExecutionId', 'sandboxId',
    'sandboxTeamId', 'sandboxTemplateId', 'timestamp']) {
    assert.match(printed, new RegExp(`\\b${key}: `), `${key} is missing from: ${printed}`)
  }
  const [, id] = printed.match(/sandboxId: '(i[0-9a-z]{20})'/)
  await Sandbox.kill(id)
})

test('the printed sample asks for sandbox `undefined`, which is a clear 404', async () => {
  const { status, body } = await request('GET', '/events/sandboxes/undefined')
  assert.equal(status, 404)
  assert.equal(body.code, 404)
  assert.equal(typeof body.message, 'string')
})

test('register, list, get, update and delete a webhook', async () => {
  const before = (await request('GET', '/events/webhooks')).body.map((webhook) => webhook.id)
  assert.match(await runSample('webhook-register.mjs'), /Webhook registered successfully/)
  const listed = await runSample('webhook-list.mjs')
  assert.match(listed, /Webhooks listed successfully/)
  assert.doesNotMatch(listed, /secret-for-event/)
  const added = (await request('GET', '/events/webhooks')).body.find((webhook) => !before.includes(webhook.id))
  const webhookID = added.id

  const configuration = await runSample('webhook-get.mjs', { webhookID })
  for (const shown of [`id: '${webhookID}'`, 'teamID: ', "name: 'My Sandbox Webhook'", 'createdAt: ', 'enabled: true',
    "url: 'https://your-webhook-endpoint.com/webhook'", 'events: ']) {
    assert.ok(configuration.includes(shown), `${shown} is missing from: ${configuration}`)
  }
  assert.match(await runSample('webhook-update.mjs', { webhookID }), /Webhook updated successfully/)
  const updated = (await request('GET', `/events/webhooks/${webhookID}`)).body
  assert.equal(updated.url, 'https://your-updated-webhook-endpoint.com/webhook')
  assert.equal(updated.enabled, false)
  assert.deepEqual(updated.events, ['sandbox.lifecycle.created'])
  assert.equal(updated.name, 'My Sandbox Webhook', 'a field that was not given stays')
  assert.match(await runSample('webhook-delete.mjs', { webhookID }), /Webhook deleted successfully/)
  assert.equal((await request('GET', `/events/webhooks/${webhookID}`)).status, 404)
})

test('a delivery, verified with the function as printed', async () => {
  const secret = 'secret-for-event-signature-verification'
  const verify = await descriptionVerifier()
  const hook = await receiver((n) => (n === 1 ? 500 : 200))
  const { status, body: webhook } = await request('POST', '/events/webhooks', {
    name: 'end to end',
    url: hook.url,
    enabled: true,
    events: ['sandbox.lifecycle.created', 'sandbox.lifecycle.killed'],
    signatureSecret: secret,
  })
  assert.equal(status, 201)
  try {
    const sandbox = await Sandbox.create({ metadata: { purpose: 'webhook-e2e' } })
    await sandbox.setTimeout(120_000)
    await sandbox.kill()
    const ours = () =>
      hook.received
        .map((one) => ({ ...one, event: JSON.parse(one.body) }))
        .filter((one) => one.event.sandboxId === sandbox.sandboxId)
    const of = (type) => ours().filter((one) => one.event.type === type)
    await eventually('killed is delivered', () => of('sandbox.lifecycle.killed').length > 0)
    await eventually('created is delivered', () => of('sandbox.lifecycle.created').length > 0)
    // The first request was answered 500; what it carried comes again, ten seconds later.
    const { id: refused } = JSON.parse(hook.received[0].body)
    const tries = () => hook.received.filter((one) => JSON.parse(one.body).id === refused).length
    await eventually('what was refused is delivered again', () => tries() === 2, 60)
    assert.ok(ours().every((one) => !one.event.type.endsWith('.updated')), 'only what was subscribed to')

    for (const { headers, body } of hook.received) {
      assert.equal(headers['e2b-webhook-id'], webhook.id)
      assert.match(headers['e2b-delivery-id'], /^[0-9a-f-]{36}$/)
      assert.equal(headers['e2b-signature-version'], 'v1')
      assert.equal(headers['content-type'], 'application/json')
      assert.ok(verify(secret, body, headers['e2b-signature']), 'the signature is valid')
      assert.ok(!verify('another secret', body, headers['e2b-signature']))
    }
    const { event } = of('sandbox.lifecycle.killed')[0]
    assert.equal(event.version, 'v2')
    assert.deepEqual(event.eventData.sandbox_metadata, { purpose: 'webhook-e2e' })
    const { execution } = event.eventData
    assert.equal(execution.vcpu_count, 2)
    assert.equal(execution.memory_mb, 512)
    assert.ok(Number.isInteger(execution.execution_time) && execution.execution_time >= 0)
    assert.match(execution.started_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
    assert.equal(event.eventData.kill_reason, 'request')
    // The consumers of today's original parse these.
    assert.equal(event.sandbox_id, event.sandboxId)
    assert.deepEqual(event.event_data, event.eventData)

    const ids = new Set(hook.received.map((one) => one.headers['e2b-delivery-id']))
    assert.equal(ids.size, hook.received.length, 'every attempt has an id of its own')
    const { body: deliveries } = await eventually('attempts are listed', async () => {
      const page = await request('GET', `/events/webhooks/${webhook.id}/deliveries`)
      return page.body.data.flatMap((delivery) => delivery.attempts).some((a) => a.status === 'failed') && page
    })
    const attempts = deliveries.data.flatMap((delivery) => delivery.attempts)
    assert.ok(attempts.some((attempt) => attempt.errorClass === 'http_error' && attempt.responseHttpStatusCode === 500))
    assert.ok(!JSON.stringify(deliveries).includes(secret))
    const { total, failed } = await eventually('three attempts are counted', async () => {
      const { body: stats } = await request('GET', `/events/webhooks/${webhook.id}/stats`)
      return stats.total >= 3 && stats
    })
    assert.deepEqual({ total, failed }, { total: 3, failed: 1 })
  } finally {
    await request('DELETE', `/events/webhooks/${webhook.id}`)
    await hook.close()
  }
})
