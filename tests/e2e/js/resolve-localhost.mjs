// Names under `.localhost` are this machine (RFC 6761, section 6.3). systemd-resolved, nss-myhostname, macOS and browsers
// see to it; where the system's resolver does not, this does. Loaded with `node --import`.
import dns from 'node:dns'
import { syncBuiltinESMExports } from 'node:module'

const system = dns.lookup

dns.lookup = (name, options, callback) => {
  if (typeof options === 'function') [options, callback] = [{}, options]
  if (!/\.localhost\.?$/i.test(name)) return system(name, options, callback)
  const found = { address: '127.0.0.1', family: 4 }
  const answer = options?.all ? [[found]] : [found.address, found.family]
  process.nextTick(callback, null, ...answer)
}
syncBuiltinESMExports()
