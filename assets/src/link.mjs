// A link is what connects this page to one room. All its sockets share it, so a tab is one user, however many of its
// parts listen.
//
// The tabs of a browser share one connection as well: one of them leads, that is, it asks the server and posts what comes
// on a BroadcastChannel; the others follow. Who leads is settled by a Web Lock, and where the browser has none (plain
// http, unless it is localhost) on the channel alone: docs/decisions/0016-one-connection-for-all-tabs.md.
//
// The leader has a stream, or, where something on the way holds responses back until they are complete, polls: the same
// request and the same bytes in responses that end. A way works when its first event is here; nothing before that proves
// anything. Which way it is, attempt() decides, and nothing else.
//
// All of it is one function, because names in a scope become short, and names of properties less so: see TestSize.

import { newId } from './id.mjs'
import { old, read } from './wire.mjs'

/** What this tab remembers until it is closed: sets it if there is a value, and returns it. Storage may be forbidden. */
const memory = (key, value) => {
  try {
    return value == undefined ? sessionStorage[key] : (sessionStorage[key] = value)
  } catch {}
}

export const newLink = (server, room, name) => {
  // What tabs post: [kind, sender, …]. Of those who do not lead the sender is the client id:
  const ASK = 0 // does anybody lead?
  const JOIN = 1 // I follow: renew my lease
  const BYE = 2 // heir, gone: I leave; the heir is to lead, if I did; whether I do not come back
  // Of the leader it is its term, which begins with the time when it began to lead. The latest one leads.
  const LEAD = 3 // I lead, and all followers are to say so
  const EVENT = 4 // name, data, cursor, recovered, polls
  const DOWN = 5 // reason, message: nothing comes any more

  const { locks } = navigator
  const sockets = new Set()
  const each = (action) => [...sockets].forEach(action)

  let id = memory(name) || newId() // a page that is loaded again is the same user,
  memory(name, '') // and a tab that is duplicated is another one
  let reloading // the user has asked for this page again
  let way // how events come, while they do
  let cursor = '' // how far this tab has read
  let recovered = false
  let count // the latest user count, for sockets that are added later,
  let counted = '' // and the cursor that it came with; '' while a follower has none that includes it

  // --- what sockets hear ---

  const call = (...words) => each((socket) => socket._call(...words))

  const deliver = (by, event, data, at) => {
    way = by
    each((socket) => socket._up(id, way, recovered))
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

  const lose = (reason, problem) => {
    way = 0
    counted = ''
    each((socket) => socket._down(reason, problem))
  }

  // --- asking the server ---

  let retryAt = memory('headcount ' + server) || 0 // when a stream is to be tried again; Infinity: somebody wants polls, for this tab alone
  let polls = retryAt > 0 // what worked last
  let patience = 60000 // between two trials of a stream while polls work, in ms
  let failures = 0
  let current // the AbortController of the attempt under way
  let timer // of the attempt's silence; between attempts, of the next one
  let silence = 25000 // how long a stream may be silent, in ms: 2.5 heartbeats
  let refused // what the server itself answered instead of events,
  let pause // and how long it asked us to stay away, in ms

  const open = async (poll, { signal }, receive) => {
    const query = new URLSearchParams({
      room,
      id,
      poll: +poll,
      // A poll whose cursor lacks its last part, the version of the states, is answered at once, with the states.
      lastEventId: leads ? (way && !failures ? cursor : cursor.replace(/\.\d+$/, '.')) : '',
      try: Math.random(), // proxies join requests with the same address, and make them wait for each other
    })
    const response = await fetch(server + '/events?' + query, { signal })
    const type = response.headers.get('content-type')
    if (/^text.(ev|pl)/.test(type)) return read(response, receive)
    pause = response.headers.get('retry-after') * 1000
    refused = (await response.json().catch(() => 0)).error
    throw Error(refused || response.status + ' ' + type)
  }

  const prefer = (poll) => {
    polls = poll
    retryAt = Date.now() + patience
    memory('headcount ' + server, poll ? retryAt : '')
  }

  const stop = () => {
    clearTimeout(timer)
    current?.abort()
    current = null
  }

  /** A tab that follows does this once, by a poll, so that the first count that it sees includes it. */
  const attempt = async (poll = !leads || (polls && failures < 2)) => {
    stop()
    const mine = (current = new AbortController())
    const limit = (time) => {
      clearTimeout(timer)
      timer = setTimeout(() => {
        reason = 'ping timeout'
        mine.abort()
      }, time)
    }
    let reason = 'transport error'
    let problem
    let works
    pause = refused = 0
    // The first event of a stream may take as long as it seems by what was measured on the page that this runs in. A worker
    // has no page.
    limit(poll ? 30000 : Math.min(1000 + 4 * (performance.timing?.responseStart - performance.timeOrigin), 3000) || 3000)
    try {
      await open(poll, mine, (event, data, at) => {
        if (current != mine) return // a listener has just ended this attempt
        works = true
        failures = 0
        if (event == 'io:hello') silence = 2500 * data.heartbeat
        if (!poll) limit(silence)
        if (leads) {
          if (polls != poll) prefer(poll)
          receive(poll ? 'poll' : 'stream', event, data, at)
        } else if (event == 'user count') {
          cursor ||= at
          deliver('shared', event, data, at)
          post(JOIN, id)
        }
      })
      reason = 'transport close'
    } catch (error) {
      problem = error
    }
    if (current != mine) return
    stop()
    // Something may cut polls that take long: the next one is answered at once, if the server is there.
    if (poll && ((works && !problem) || (way && leads && !refused && !failures++))) {
      if (leads) {
        timer = setTimeout(attempt, 100 * (1 + Math.random()))
        if (Date.now() > retryAt) tryStream()
      }
      return
    }
    if (!poll) {
      // What the server itself refuses, it would refuse on the other way too. It ends a stream that nobody answers; a poll is
      // its own answer.
      if (!refused && (unheard || !works)) return attempt(true)
      // Something may let the first words of a stream pass, and no more. The next one must prove more: see tryStream.
      if (reason == 'ping timeout') polls = true
    }
    problem ||= Error(reason)
    if (leads) post(DOWN, term, reason, problem.message)
    if (leads || !way) lose(reason, problem)
    // Capped first and jittered after, so that clients which lost their server at the same moment stay apart, at the cap too.
    // The first is below 1 s, and a server keeps a client id counted for 2 s: a connection that is merely cut moves nobody's count.
    timer = setTimeout(attempt, pause + 500 * Math.min(2 ** failures++, 30) * (1 + Math.random()))
  }

  /** Tries a stream beside the polls, with the same id, so that nobody is counted twice. Only one that says something again
   * later is better than polls. */
  const tryStream = () => {
    prefer(true)
    patience *= 2
    const mine = new AbortController()
    setTimeout(() => mine.abort(), silence)
    let first
    open(false, mine, (event, data) => {
      if (!leads || mine.signal.aborted) return
      if (data?.ping) say('/alive', [id])
      first ||= Date.now() + 1000
      if (!unheard && Date.now() > first) {
        mine.abort()
        prefer(false)
        attempt()
      }
    }).catch(() => {})
  }

  // --- leading ---

  let leads
  let heir // who is to lead next
  let ping // how often the server wants an answer, in s; 0 = not at all
  let unheard // what was last said has not arrived
  let due // when leases are to be renewed
  const flock = new Set() // whose leases are to be renewed now

  const receive = (by, event, data, at) => {
    if (event == 'io:hello') {
      if (!way) recovered = data.recovered
      ping = data.ping
      if (ping || !way) due = 0
    }
    cursor = at
    postEvent(event, data, at)
    // Triggered by what comes, because timers of hidden tabs hardly run.
    if (Date.now() > due) {
      due = Date.now() + 900 * (ping || 20)
      post(LEAD, term)
      if (ping) renew(id)
    }
    deliver(by, event, data, at)
  }

  const say = (path, ids) => {
    unheard = true
    fetch(server + path, { method: 'POST', body: JSON.stringify({ room, ids }), keepalive: true })
      .then((answer) => (unheard = !answer.ok))
      .catch(() => {})
  }

  /** Says goodbye for a tab: its own word may be lost, or overtaken by a renewal. */
  const bury = (who) => setTimeout(say, 300, '/leave', [who])

  /** Renews leases: of all who ask at about the same time, together. */
  const renew = (who) => {
    if (!flock.size)
      setTimeout(() => {
        for (const ids = [...flock]; ids[0]; ) say('/alive', ids.splice(0, 100))
        flock.clear()
      }, 100)
    flock.add(who)
  }

  const lead = () => {
    clearTimeout(watch)
    term = Date.now() + id
    leads = true
    due = 0
    post(LEAD, term)
    if (gone) bury(gone)
    attempt()
  }

  const retire = () => {
    leads = heir = asked = stop()
    counted = ''
    release?.()
    queue()
    look(0)
  }

  // --- following, and who leads ---

  let channel // to the other tabs
  let term = '' // of the tab that leads, as far as this one knows
  let waiting // an AbortController: ends the wait for the lock
  let release // gives the lock back
  let watch // the timer that looks whether the leader is still there
  let asked // this follower has asked the server for a count that includes it
  let gone // who left last

  const post = (...words) => channel?.postMessage(words)
  const postEvent = (...event) => post(EVENT, term, ...event, recovered, polls)

  /** Waits for the lock, or takes it away. */
  const queue = (steal) => {
    if (!locks) return steal && lead()
    waiting?.abort()
    const mine = (waiting = new AbortController())
    locks
      .request(
        name,
        steal ? { steal } : mine,
        () =>
          mine.signal.aborted ||
          new Promise((resolve) => {
            release = resolve
            lead()
          })
      )
      .catch((error) => error.code == 20 || lead()) // not aborted: a page without an origin may have no lock
  }

  /** In so many ms asks whether anybody leads, and leads if nobody answers. */
  const look = (time, answer = 2000) => {
    clearTimeout(watch)
    watch = setTimeout(() => {
      post(ASK, id)
      watch = setTimeout(queue, answer, true)
    }, time)
  }

  const follow = (event, data, at) => {
    if (event == 'user count') {
      if (!counted || !at || old(at, counted, 2)) return
    } else if (old(at, cursor, 0)) return
    else cursor = at
    deliver('shared', event, data, at)
  }

  const hear = ({ data: [kind, from, ...words] }) => {
    if (kind > BYE) {
      if (from < term) return
      if (from > term && leads) retire()
      term = from
      look(4000 * (1 + Math.random()))
      if (kind == DOWN) {
        asked = stop()
        return lose(words[0], Error(words[1]))
      }
      asked ||= attempt()
      if (counted && kind == LEAD) post(JOIN, id)
      if (kind == EVENT) {
        polls = words[4]
        if (!way) recovered = cursor && words[3]
        follow(...words)
      }
      return
    }
    const [next, forGood] = words
    if (forGood) flock.delete((gone = from))
    if (!leads) return next == id && !locks && lead()
    if (kind == JOIN) renew((heir = from))
    if (kind < BYE) return postEvent('user count', count, counted)
    if (forGood) bury(from)
    if (heir == from) post(LEAD, term)
  }

  // --- coming and going ---

  const join = () => {
    try {
      if (retryAt != 'Infinity') channel = new BroadcastChannel(name)
    } catch {}
    if (!channel) return lead() // alone
    channel.onmessage = hear
    // Who has read before may be behind the others. Leading, it reads from where it was, and they skip what they have.
    if (cursor) return queue(true)
    queue()
    look(0, locks ? 2000 : 250)
  }

  const leave = (reason) => {
    const back = reloading && memory(name, id)
    if (!back) say('/leave', [id])
    post(BYE, id, heir, !back)
    channel?.close()
    channel = null
    retire()
    clearTimeout(watch)
    lose(reason)
    waiting?.abort()
    flock.clear()
    // The next time it has another id: a goodbye that arrives late must not remove it.
    id = newId()
  }

  globalThis.navigation?.addEventListener('navigate', (event) => (reloading = event.navigationType == 'reload'))
  // A browser keeps the connections of a page that was left open for a minute, in case the reader comes back.
  addEventListener('pagehide', () => sockets.size && leave('pagehide'))
  addEventListener('pageshow', (event) => event.persisted && sockets.size && join())
  // A page that is frozen gets what the others post, but nothing from the network.
  addEventListener('freeze', () => heir && retire(), true)
  addEventListener('online', () => leads && !way && attempt())

  return {
    _add(socket) {
      if (sockets.has(socket)) return
      sockets.add(socket)
      if (sockets.size == 1) join()
      // Not at once: whoever called has no listeners yet.
      else
        queueMicrotask(() => {
          if (way && sockets.has(socket)) {
            socket._up(id, way, recovered)
            if (counted) socket._call('user count', count)
          }
        })
    },
    _remove(socket) {
      if (!sockets.delete(socket)) return
      if (!sockets.size) leave()
      socket._down('io client disconnect')
    },
  }
}
