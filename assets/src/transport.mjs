// A transport brings the events of one room of one server, by a stream, or by polls where something on the way holds streams
// back: the same request and the same bytes in responses that end. It knows nothing of tabs.
//
// Its states, and what leads from one to another, are the table in docs/transport.md. A way works when its first event is here;
// nothing before that proves anything.

import { delay, now, retryAfter, within } from './time.mjs'
import { read } from './wire.mjs'

export const STATES = ['idle', 'connecting', 'streaming', 'asking', 'polling', 'checking']
const parse = (text) => {
  try {
    return JSON.parse(text)
  } catch {
    return text // of a server that sends something else than JSON
  }
}

/**
 * names is a Set of what somebody listens for; '' in it stands for everything. receive(way, name, data, cursor) gets each event,
 * lose(reason, error) is told when nothing comes any more; the next attempt comes by itself.
 */
export const newTransport = (server, room, token, polls, names, receive, lose) => {
  const IDLE = 0
  const CONNECTING = 1 // a stream is asked for
  const STREAMING = 2 // and brings events
  const ASKING = 3 // a poll is asked for
  const POLLING = 4 // and polls bring events
  const CHECKING = 5 // though the last one did not: the next is answered at once

  const POLL_LIMIT = 30000
  const TURN = 5000 // between two polls of a room without a seat
  const SILENT = 'ping timeout'

  let state = IDLE
  let id
  let cursor
  let sits // 1: it has a seat; 2: it needs none, for no stream is wanted; else it takes turns
  let turn // when it may ask, without one
  let current // the attempt under way: an EventSource, or what aborts a fetch
  let trial // a stream that is tried beside the polls
  let timer // of the attempt's silence; between attempts, of the next one
  let silence = 25000 // how long a stream may be silent: 2.5 heartbeats
  let failures // in a row
  let pause // what the server asked for, in ms,
  let refused // and its sentence
  let blocked // the stream did not get through, so what works next are polls
  let unheard // what was last said has not arrived

  const address = (path, query) =>
    server._url + path + '?' + new URLSearchParams({ room, ...(token && { token }), ...query })
  // Each is another one: proxies join requests for the same, and make them wait for each other.
  const events = (lastEventId, query) => address('events', { try: Math.random(), id, lastEventId, ...query })

  const wait = (time, action = () => over(SILENT)) => {
    clearTimeout(timer)
    timer = setTimeout(action, time)
  }

  const stop = () => {
    clearTimeout(timer)
    current?.abort()
    current = turn = null
  }

  /** Goes on in another state, after a while. */
  const enter = (next, time) => {
    stop()
    state = next == CONNECTING && sits != 1 ? ASKING : next
    time ? wait(time, attempt) : attempt()
    turn = !sits && now() + time
  }
  const begin = () => enter(server._polls ? ASKING : CONNECTING)
  const later = (next, base, failures) => enter(next, delay(base, failures, pause))

  /** Opens a stream that gives what comes to take. */
  const open = (cursor, take, end) => {
    const source = new EventSource(events(cursor))
    source.onerror = end
    source.abort = source.close
    source._listen = (name) => source.addEventListener(name, (event) => take(name, event.data, event.lastEventId))
    names.forEach(source._listen)
    return source
  }

  const attempt = () => {
    let mine
    let works
    const poll = state != CONNECTING
    const end = (error) =>
      current == mine && over('transport ' + (works ? 'close' : 'error'), error, poll && works && !error)
    const take = (name, text, at) => {
      if (current != mine || !at) return // a listener has just ended this attempt
      const data = parse(text)
      works = true
      cursor = at
      if (name == 'io:hello') silence = 2500 * within(data.heartbeat, 0.1, 600, 10)
      if (!poll) {
        wait(silence)
        state = STREAMING
        failures = 0
      }
      server._beat()
      receive(poll ? 'poll' : 'stream', name, data, at)
    }
    pause = refused = turn = 0
    wait(poll ? POLL_LIMIT : server._first)
    if (poll || names.has('')) {
      current = mine = new AbortController()
      const go = () => current == mine && load(poll, mine, take).then(end, end)
      sits ? go() : (server._line = server._line.then(go))
    } else {
      unheard = 0
      current = mine = open(cursor, take, () => end())
    }
  }

  const load = async (poll, { signal }, take) => {
    // A cursor that lacks its last part, the version of the states, is answered at once, with the states.
    const from = poll && (state != POLLING || failures) ? cursor.replace(/\.\d+$/, '.') : cursor
    const response = await fetch(events(from, poll && { poll: 1, ...(sits ? 0 : { wait: 0 }) }), { signal })
    const type = response.headers.get('content-type')
    if (response.ok && /^text.(ev|pl)/.test(type)) return read(response, take)
    pause = retryAfter(response.headers.get('retry-after'))
    refused = (await response.json().catch(() => 0))?.error
    throw Error(refused || response.status + ' ' + type)
  }

  /** An attempt is over. */
  const over = (reason, error, answered) => {
    if (answered) {
      blocked &&= server._prefer(1)
      failures &&= server._due = 0 // behind a back-off the network may have changed
      if (sits > 2) return stop((state = IDLE))
      if (!sits) return enter(POLLING, TURN)
      if (sits < 2 && !server._polls) return enter(CONNECTING)
      later(POLLING, 200, 0)
      return sits < 2 && now() > server._due && tryStream()
    }
    let next = state > ASKING ? POLLING : CONNECTING
    // Something may let no stream pass, or its first words and no more, or no answer to its pings.
    if (state == CONNECTING || (state == STREAMING && (unheard || reason == SILENT))) {
      blocked = 1
      if (state == CONNECTING || reason != SILENT) return enter(ASKING)
      next = ASKING
    }
    // Something may cut polls that take long: the next one is answered at once, if the server is there.
    if (state == POLLING && !refused) return later(CHECKING, 200, 0)
    later(next, 1000, failures++)
    lose(reason, error || Error(reason))
  }

  /** Tries a stream beside the polls, with the same id, so that nobody is counted twice. Only one that says something again
   * later, and to which answers get through, is better than polls. */
  const tryStream = () => {
    server._try()
    const end = () => source.abort()
    let first
    const take = (name, text) => {
      if (parse(text)?.ping) transport._say('alive', [id])
      if (now() < (first ||= now() + 1000) || unheard) return
      end()
      server._prefer('')
      if (state == POLLING) enter(CONNECTING)
    }
    const source = (trial = open('', take, end))
    setTimeout(end, silence)
  }

  const transport = {
    _state: () => state,

    /** Asks for events as this user, from where the cursor says; or only for one count, which includes it. */
    _start(user, from, one) {
      stop((state = IDLE))
      id = user
      cursor = from
      failures = 0
      sits = one ? 3 : polls ? 2 : 0
      if (!sits) server._enter(transport)
      begin()
    },

    _stop() {
      stop((state = IDLE))
      trial?.abort()
      server._leave(transport)
    },

    /** It has a seat, or not. Then it may be its turn. */
    _sit(has) {
      if (sits == has) return turn && now() > turn && attempt()
      sits = has
      if (state) begin()
    },

    /** Somebody listens for another name. An EventSource cannot listen for everything. */
    _listen(name) {
      if (current?._listen) name ? current._listen(name) : enter(CONNECTING)
    },

    _say(path, ids, grace) {
      unheard = true
      fetch(address(path), { method: 'POST', body: JSON.stringify({ room, ids, grace }), keepalive: true }).then(
        (answer) => (unheard = !answer.ok),
        () => {},
      )
    },
  }
  return transport
}
