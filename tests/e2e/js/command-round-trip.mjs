// What `commands.run('true')` costs through the JavaScript SDK.
import { Sandbox } from 'e2b'

const ROUNDS = 500
const sandbox = await Sandbox.create('base', { timeoutMs: 600_000 })
const times = []
for (let round = -20; round < ROUNDS; round += 1) {
  const began = performance.now()
  await sandbox.commands.run('true')
  if (round >= 0) times.push(performance.now() - began)
}
await sandbox.kill()
times.sort((a, b) => a - b)
const at = (part) => times[Math.min(times.length - 1, Math.floor(times.length * part))].toFixed(2).padStart(6)
console.log(`${`JavaScript SDK, commands.run('true'), ${ROUNDS} times`.padEnd(44)} p50 ${at(0.5)} ms   p99 ${at(0.99)} ms   fastest ${at(0)} ms`)
