// The browser client of headcount: io() as in Socket.IO, over plain HTTP.
//
// A socket (socket.mjs) is what a part of a page holds: its listeners. A link (link.mjs) connects this page to one room. It does
// so by a transport (transport.mjs: a stream, or polls) if this tab leads, and else by way of the tab that does (tabs.mjs). What
// the rooms of a server share is in server.mjs, times in time.mjs, and what comes as text in wire.mjs.
//
// What users need to know is in io.d.mts. ../build makes io.js and io.mjs of this file; names that begin with _ become short.

import { newSocket } from './socket.mjs'
import { newServer } from './server.mjs'
import { newLink } from './link.mjs'
import { defineElement } from './element.mjs'

/** Returns io for a script that was loaded from this address: there is its server, unless a bundler has made it part of another. */
const ioFrom = () => {
  const made = {} // servers and links by their addresses
  let element
  const page = performance.getEntries()[0] // how this page came; in a worker, how its first file came

  return (script) => {
    const base = /(http.+\w\/)(assets|socket.io)\/(socket.)?io\./.exec(script)?.[1] || '/'

    const io = (uri = '/', options) => {
      if (uri == '[object Object]') [uri, options] = ['/', uri]
      let { room, path, token, transports, autoConnect = true } = { ...options }
      const home = new URL(base, location)
      // As in Socket.IO: "/room", "https://host/room", "localhost:8080/room". With a room beside it, its path is the server's.
      const { origin, pathname } = new URL(/^(\w+:\/)?\//.test(uri) ? uri : '//' + uri, home)
      path ??= room && pathname[1] ? pathname : origin == home.origin ? home.pathname : '/'
      const url = new URL(path.replace(/\/*$/, '/'), origin).href
      room ||= decodeURIComponent(pathname.slice(1)) || 'lobby'
      // A page that loads the script of another host may have meant its own server.
      const warn = () => /^\/(?!\/)/.test(uri) && console.warn(`Name the server: io("${url}", { room })`)
      const server = (made[url] ||= newServer(url, origin == location.origin ? page : warn()))
      const link = (made[url + room] ||= newLink(server, room, token, transports == 'poll'))
      const socket = newSocket(link, `Use curl ${url}emit -d room="${room}"`)
      return autoConnect ? socket.connect() : socket
    }
    element ||= !defineElement(io)
    return (io.connect = io)
  }
}

// A page may load this twice: as script and as module, by a hot reload, by Turbo. A tab is one user all the same.
export const from = (globalThis.headcount$ ||= ioFrom())
