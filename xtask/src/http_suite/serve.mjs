// Starts the server of the package in the folder given as argument, on the loopback alone. The
// server itself listens on every interface, and has no setting for that.

import net from 'node:net'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const listen = net.Server.prototype.listen
net.Server.prototype.listen = function (port) {
  return listen.call(this, port, '127.0.0.1')
}

await import(pathToFileURL(path.resolve(process.argv[2], 'server/server.mjs')))
