// What the page's doctor asks the server, and what comes of it. As in client/doctor times are compared
// with times of the same clock alone; all are in ms.

import { newId } from './tab.mjs'

/** Why something does not work, in words. If it is an answer, `status` is its own, 0 for a good one of the wrong type, and `own`
 * says that the server itself gave it. */
export class Refusal extends Error {
  constructor(text, status, own) {
    super(text)
    this.status = status
    this.own = own
  }
}

const TIMEOUT = 4000 // for what should come at once, beside the time that the way takes
const SETTLE = 300 // given to a request to arrive
const GAPS = [500, 300, 800, 400] // different ones, so that what comes late shows by how much
export const LATE = 150 // how late an event may be and still count as live

export const NO_EVENT = 'it is open, but its events do not come'

/** All that a browser tells of a failure. */
export const reasonOf = (error) =>
  error instanceof Refusal ? error.message : error.name == 'AbortError' ? 'no answer in time' : 'the connection broke'

const now = () => performance.now()
const pause = (time) => new Promise((resolve) => setTimeout(resolve, time))

const newName = () => 'doctor-' + newId()

/** How the events of a complete probe arrive, by the time that an answer takes at least. */
export const mannerOf = ({ arrivals }, roundTrip) => {
  const lateness = arrivals.map(({ at, sent }) => Math.max(0, at - sent - roundTrip))
  const behind = lateness
    .slice(0, -1)
    .every((late, i) => late > LATE && Math.abs(arrivals[i].at - arrivals[i + 1].sent - roundTrip) < LATE)
  const sorted = [...lateness].sort((a, b) => a - b)
  const median = sorted[sorted.length >> 1]
  const most = sorted.at(-1)
  const end = arrivals.at(-1).sent
  const timing = { median, most }
  if (end > LATE && lateness[0] > end - LATE) return { how: 'held', ...timing }
  if (behind && arrivals.length > 1) return { how: 'behind', ...timing }
  return { how: median > LATE || most > 1000 ? 'late' : 'live', ...timing }
}

/** One pass through all that there is to ask, until the signal. */
export const newProbes = (signal) => {
  let roundTrip = 0 // the shortest so far
  const patient = () => TIMEOUT + 4 * roundTrip

  // When requests were really sent, by address: a browser makes them wait for each other.
  const timings = new Map()
  const observer = new PerformanceObserver((list) =>
    list.getEntries().forEach((entry) => timings.set(entry.name, entry)),
  )
  observer.observe({ type: 'resource' })
  signal.addEventListener('abort', () => observer.disconnect())

  /** What the browser has noted of a request that is over; it comes a moment after the answer, and may not come at all. */
  const timingOf = async (url) => {
    for (const end = now() + 500; !timings.has(url) && now() < end; ) await pause(10)
    return timings.get(url)
  }

  /** An AbortController that aborts by itself after a time, if one is given, and at the signal. */
  const within = (time) => {
    const control = new AbortController()
    if (time) setTimeout(() => control.abort(), time)
    signal.addEventListener('abort', () => control.abort(), { signal: control.signal })
    if (signal.aborted) control.abort()
    return control
  }

  const base = new URL('.', document.baseURI).href // where the page is, which may be under a path

  /** Each address is used once: a cache may have one answer for all who ask for the same. */
  const address = (path, query) => base + path + '?' + new URLSearchParams({ t: newName(), ...query })

  const check = async (response) => {
    if (response.ok) return
    const sentence = (await response.json().catch(() => 0))?.error
    const text = `it answers ${response.status} ${response.statusText}`.trim() + (sentence ? ': ' + sentence : '')
    throw new Refusal(text, response.status, Boolean(sentence))
  }

  const post = async (path, room, ...ids) => {
    // Not with the signal: the last word is said when all is over.
    const late = new AbortController()
    setTimeout(() => late.abort(), patient())
    await check(
      await fetch(base + path, {
        method: 'POST',
        body: JSON.stringify({ room, ids }),
        keepalive: true,
        signal: late.signal,
      }),
    )
  }

  const say = (...args) => post(...args).catch(() => {}) // for what must not be known to have arrived

  /** Calls got for each event of a stream until it ends, and keeps its bytes in raw. In wire.mjs, which does nearly the same, there
   * is no room for bytes, nor for events without an id: see TestSize. */
  const read = async (response, got, raw = [], types = /^text\/event-stream *(;|$)/i) => {
    await check(response)
    const type = response.headers.get('content-type') ?? ''
    if (!types.test(type))
      throw new Refusal(`it answers with "${type}", not with events; is it a headcount server?`, 0, false)
    const reader = response.body.getReader()
    const decoder = new TextDecoder()
    let rest = ''
    for (let piece; !(piece = await reader.read()).done; ) {
      raw.push(...piece.value)
      rest += decoder.decode(piece.value, { stream: true }).replace(/\r/g, '')
      const blocks = rest.split('\n\n')
      rest = blocks.pop()
      for (const block of blocks) {
        const fields = { at: now() }
        for (const line of block.split('\n')) {
          const [key, value] = line.split(/: ?(.*)/s)
          fields[key] = value
        }
        got(fields)
      }
    }
  }

  /** Asks who is there, a few times, for the shortest time that an answer takes. */
  const path = async () => {
    const found = { url: base.slice(0, -1) }
    try {
      for (let n = 0; n < 4 && !found.noProbes; n++) {
        const url = address('doctor/path')
        let begin = now()
        const response = await fetch(url, { signal: within(2 * TIMEOUT).signal })
        let end = now()
        const refusal = await check(response).catch(reasonOf)
        if (!refusal) found.server = await response.json().catch(() => {})
        if (!found.server?.proto) found.noProbes = refusal ?? 'the reply is not from headcount'
        const timing = await timingOf(url)
        if (timing?.requestStart) [begin, end] = [timing.requestStart, timing.responseStart]
        found.proto = timing?.nextHopProtocol
        roundTrip = found.roundTrip = Math.min(found.roundTrip ?? Infinity, end - begin)
        if (roundTrip > 1000) break // on a slow way one answer is enough
      }
      if (found.noProbes) await countOf('lobby') // something answers: is it a headcount server?
    } catch (error) {
      found.error = reasonOf(error)
    }
    return found
  }

  const countOf = async (room) => {
    const response = await fetch(address('count', { room }), { signal: within(patient()).signal })
    const answer = await response.json().catch(() => {})
    if (response.ok && Number.isInteger(answer?.users)) return answer.users
    throw new Refusal(
      `it answers GET /count with ${response.status}; is it a headcount server?`,
      response.status,
      false,
    )
  }

  /** Has the server send events with gaps between. */
  const probe = async (gaps, cursor) => {
    const found = { arrivals: [], cursor: '' }
    const raw = []
    const url = address('doctor/stream', { gaps: gaps.map((gap) => gap / 1000).join() })
    const limit = within(gaps.reduce((sum, gap) => sum + gap, patient()))
    const begin = now()
    let end
    try {
      const response = await fetch(url, {
        headers: { accept: 'text/event-stream', ...(cursor && { 'last-event-id': cursor }) },
        signal: limit.signal,
      })
      found.headers = response.headers
      const take = ({ event, data, at }) => {
        if (event == 'io:end') {
          end = JSON.parse(data)
          found.complete = found.arrivals.length > 0
        }
        if (event != 'io:probe') return
        const probe = JSON.parse(data)
        found.cursor = probe.lastEventId
        found.arrivals.push({ at: at - begin, sent: probe.at * 1000 })
      }
      await read(response, take, raw)
      if (!found.complete) throw new Refusal('the stream ended')
    } catch (error) {
      found.error = error
    }
    found.took = now() - begin
    if (found.complete) found.changed = await isChanged(raw, end)
    const waited = Math.max(0, (await timingOf(url))?.requestStart - begin || 0)
    for (const arrival of found.arrivals) arrival.at -= waited
    found.took -= waited
    limit.abort()
    return found
  }

  const isChanged = async (raw, { bytes, sha256 }) => {
    if (!(bytes <= raw.length)) return true
    // Plain http has no crypto.subtle. Behind the bytes that were summed up is the last event, and nothing else.
    if (!crypto.subtle) return !new TextDecoder().decode(new Uint8Array(raw.slice(bytes))).startsWith('event: io:end\n')
    const sum = new Uint8Array(await crypto.subtle.digest('SHA-256', new Uint8Array(raw.slice(0, bytes))))
    return [...sum].map((byte) => byte.toString(16).padStart(2, '0')).join('') != sha256
  }

  /** What is late only once was busy, be it this machine: then the better of two probes counts. */
  const probeTwice = async () => {
    const first = await probe(GAPS, newName())
    if (!first.complete || mannerOf(first, roundTrip).how != 'late') return first
    const second = await probe(GAPS, newName())
    return second.complete && mannerOf(second, roundTrip).median <= mannerOf(first, roundTrip).median ? second : first
  }

  /** Returns why there is no WebSocket, or nothing. */
  const socket = () =>
    new Promise((resolve) => {
      const it = new WebSocket(address('doctor/socket').replace('http', 'ws'))
      let opened
      it.onopen = () => (opened = true)
      it.onclose = ({ code }) =>
        resolve(code == 1000 ? '' : opened ? 'it opens, but nothing comes through' : 'the handshake fails')
      setTimeout(() => {
        resolve('no answer in time')
        it.close()
      }, patient())
    })

  const poll = async (room, id, lastEventId, limit, headers = {}) => {
    const polled = { cursor: lastEventId }
    const response = await fetch(address('events', { poll: 1, room, id, lastEventId }), {
      signal: limit.signal,
      headers,
    })
    const take = ({ event, data, id }) => {
      polled.cursor = id || polled.cursor
      if (event == 'user count') polled.count = data
    }
    await read(response, take, [], headers.accept ? undefined : /^text\/(plain|event-stream) *(;|$)/i)
    if (!polled.cursor) throw new Refusal(NO_EVENT)
    return polled
  }

  /** Polls until the joining of another user is told. */
  const polling = async () => {
    const [room, id, other] = [newName(), newName(), newName()]
    const limit = within(3 * patient())
    let begin
    try {
      let { cursor, count } = await poll(room, id, '', limit)
      pause(SETTLE).then(() => {
        begin = now()
        return poll(room, other, '', limit).catch(() => {})
      })
      while (count != '2') {
        const next = await poll(room, id, cursor, limit)
        cursor = next.cursor
        count = next.count ?? count
      }
      return { news: now() - begin }
    } catch (error) {
      return { error }
    } finally {
      limit.abort()
      say('leave', room, id, other)
    }
  }

  /** Returns why no poll arrives as an event stream, or nothing. */
  const typedPoll = () =>
    poll(newName(), '', '', within(patient()), { accept: 'text/event-stream' }).then(
      () => {},
      (error) => error,
    )

  /** Opens a stream as a page does, in a room that nobody else knows, and has another user join it. */
  const session = async () => {
    const [room, id, other] = [newName(), newName(), newName()]
    const control = within()
    const counts = {} // when each came
    const found = { room, close: () => control.abort(), leave: () => say('leave', room, id) }
    let broken
    let changed
    const listen = async () => {
      const response = await fetch(address('events', { room, id }), {
        headers: { accept: 'text/event-stream' },
        signal: control.signal,
      })
      await read(response, ({ event, data, at }) => {
        // A word of life that is under way when the stream is closed would keep its user counted.
        if ((event == 'io:hello' || event == 'io:ping') && !found.news) {
          found.asked ||= JSON.parse(data).ping > 0
          say('alive', room, id)
        }
        if (event == 'user count') {
          counts[data] ??= at
          changed?.()
        }
      })
      throw new Refusal(NO_EVENT)
    }
    const over = listen().catch((error) => (broken = error))
    /** Returns how long after begin the count came, 0 if it did not come in time. */
    const wait = async (count, begin) => {
      let late
      const end = pause(patient()).then(() => (late = true))
      while (!counts[count] && !late && !broken)
        await Promise.race([over, end, new Promise((resolve) => (changed = resolve))])
      return counts[count] ? Math.max(1, counts[count] - begin) : 0
    }
    found.began = await wait(1, now())
    if (found.began) {
      const begin = now()
      const joined = poll(room, other, '', within(patient())).catch(() => {})
      found.news = await wait(2, begin)
      joined.then(() => say('leave', room, other))
    }
    if (!found.news) {
      found.error = broken ?? new Refusal(NO_EVENT)
      found.close()
      found.leave()
    }
    return found
  }

  /** Closes the stream without a word. Returns how long the server counted it after that, nothing if it did so until limit. */
  const close = async ({ room, close, leave }, limit) => {
    close()
    const begin = now()
    try {
      while (now() - begin < limit && !signal.aborted) {
        if ((await countOf(room).catch(() => {})) === 0) return now() - begin
        await pause(100)
      }
    } finally {
      leave()
    }
  }

  return {
    path,
    probe,
    probeTwice,
    socket,
    polling,
    typedPoll,
    session,
    close,
    post: () => post('leave', newName(), newName()),
  }
}
