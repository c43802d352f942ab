// Ends every sandbox of a server that speaks TLS, by a name that needs no resolver.
const url = new URL(process.env.E2B_API_URL)
url.hostname = 'localhost'
const headers = { 'X-API-Key': process.env.E2B_API_KEY }
for (;;) {
  const listed = await fetch(new URL('/v2/sandboxes?state=running,paused', url), { headers })
  if (!listed.ok) throw new Error(`list: ${listed.status} ${await listed.text()}`)
  const sandboxes = await listed.json()
  if (sandboxes.length === 0) break
  for (const { sandboxID } of sandboxes) {
    const killed = await fetch(new URL(`/sandboxes/${sandboxID}`, url), { method: 'DELETE', headers })
    if (!killed.ok && killed.status !== 404) throw new Error(`${sandboxID}: ${killed.status}`)
  }
}
