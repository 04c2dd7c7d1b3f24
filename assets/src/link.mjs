// A link is what connects this page to one room. All its sockets share it, so a tab is one user, however many of its parts
// listen. The tab that leads (tabs.mjs) has the transport, and renews the leases of those that follow.

import { newTransport } from './transport.mjs'
import { now, within } from './time.mjs'
import { newTabs } from './tabs.mjs'
import { ahead } from './wire.mjs'
import { memory, newId } from './tab.mjs'

export const newLink = (server, room, token, polls) => {
  const GRACE = 1 // s; how long a page that says goodbye may take to be back: it cannot tell closing from reloading
  const key = server._url + room
  const names = new Set(['io:hello', 'io:ping', 'io:gap', 'user count'])
  const sockets = new Set()
  const each = (action) => [...sockets].forEach(action)
  const call = (...args) => each((socket) => socket._call(...args))

  let joined // somebody listens
  let leads // this tab does
  let id = memory(key, '') || newId() // a page that is loaded again is the same user, a tab that is duplicated another one
  let via // the transport of the events, while they come
  let cursor = '' // how far this tab has read
  let recovered
  let count // the latest user count, for sockets that are added later,
  let counted = '' // and the cursor that it came with; '' while a follower has none that includes it

  // --- what sockets hear ---

  const deliver = (by, event, data, at) => {
    via = by
    each((socket) => socket._up(id, via, recovered))
    if (event == 'user count') {
      count = data
      counted = at
    }
    if (event == 'io:gap') call('gap', data)
    else if (event && !/^io:/.test(event)) {
      call(event, data)
      call('', event, data)
    }
  }

  const lose = (reason, error) => {
    if (leads) tabs._post(0, reason, error.message)
    if (leads || !via) down(reason, error)
  }

  const down = (reason, error) => {
    via = 0
    counted = ''
    each((socket) => socket._down(reason, error))
  }

  // --- leading ---

  let ping // how often the server wants an answer, in s; 0 = not at all
  let due // when leases are to be renewed
  const staying = [] // whose leases are to be renewed now
  const leaving = new Set() // who has said goodbye. The goodbye itself may be lost, or overtaken by a renewal

  const receive = (by, event, data, at) => {
    if (!leads) {
      if (event == 'user count') {
        cursor ||= at
        deliver('shared', event, data, at)
        if (ahead(asked, at, 2) > 0) ask()
        tabs._call()
      }
      return
    }
    if (event == 'io:hello') {
      if (!via) recovered = data.recovered
      ping = within(data.ping, 1, 600, 0)
      due = 0
    }
    tabs._post(at, event, data, recovered, server._polls, cursor || at)
    cursor = event == 'user count' ? cursor : at // a follower takes none from a count either
    // Triggered by what comes, because timers of hidden tabs hardly run.
    if (!(now() < due)) {
      due = now() + 900 * (ping || 20)
      tabs._call()
      if (ping) renew(id)
    }
    deliver(by, event, data, at)
  }

  /** Renews the leases of all tabs that ask for it at about the same time together, 100 in a request. */
  const renew = (who) => {
    if (staying.push(who) % 100 == 1)
      setTimeout(() => staying[0] && transport._say('alive', staying.splice(0, 100)), 100)
  }
  const transport = newTransport(server, room, token, polls, names, receive, lose)

  // --- following ---

  // This follower has asked the server for a count that includes it. It is the cursor of the last count that the leader has posted
  // since, because that may overtake the answer; '-' if there is none.
  let asked

  /** Asks the server for a count that includes this follower. */
  const ask = () => transport._start(id, '', (asked = '-'))

  const tabs = newTabs(key, names, {
    _lead() {
      due = 0
      leads = true
      transport._start(id, cursor)
    },
    _retire() {
      transport._stop()
      counted = ''
      asked = leads = 0
    },
    _follow(all) {
      asked || ask()
      if (counted && all) tabs._call()
    },
    _hear(at, event, data, again, polls, from) {
      if (!at) {
        asked = transport._stop()
        return down(event, Error(data))
      }
      server._polls = polls
      if (!via) recovered = cursor && again
      if (event == 'user count') {
        if (ahead((asked = at), counted, 2) <= 0 || !counted) return
      } else if (ahead(from, cursor, 0) > 0) return true
      else if (ahead(at, cursor, 0) <= 0) return
      else cursor = at
      deliver('shared', event, data, at)
    },
    _listen: transport._listen,
    _joined: renew,
    _here: (who) => leaving.delete(who),
    _left(who) {
      leaving.add(who)
      setTimeout(() => leads && leaving.delete(who) && transport._say('leave', [who], 0.7), 300) // what is left of GRACE
    },
  })

  // --- coming and going ---

  const join = () => {
    joined = true
    tabs._join(id, cursor, polls)
  }

  const leave = (reason, grace) => {
    // Who leads next asks all who is to be renewed. A renewal of this id would count it again.
    joined = asked = staying.length = 0
    transport._say('leave', [id], grace)
    tabs._leave()
    transport._stop()
    down(reason)
    // Else the next time it has another id: a goodbye that arrives late must not remove it.
    if (grace) memory(key, id)
    else id = newId()
  }

  addEventListener('pagehide', () => joined && leave('pagehide', GRACE))
  // A browser keeps the connections of a page that was left open for a minute, in case the reader comes back.
  addEventListener('pageshow', () => sockets.size && !joined && join(memory(key, '')))
  addEventListener('freeze', tabs._freeze, true)
  addEventListener('online', () => leads && !via && transport._start(id, cursor))

  return {
    _want: tabs._want,
    // Not at once: whoever called has no listeners yet, and React's StrictMode comes, goes and comes again.
    _add(socket) {
      if (sockets.has(socket)) return
      sockets.add(socket)
      queueMicrotask(() => {
        if (!sockets.has(socket)) return
        if (!joined) join()
        else if (via) {
          socket._up(id, via, recovered)
          if (counted) socket._call('user count', count)
        }
      })
    },
    _remove(socket) {
      if (!sockets.delete(socket)) return
      if (joined && !sockets.size) leave('io client disconnect')
      socket._down('io client disconnect')
    },
  }
}
