// What the rooms of a page share about one server: whether streams get through to it, and the connections that may wait for it.
//
// Over HTTP/1.1 a browser has six connections for a server. So no more than three rooms have a seat, in all tabs of the browser: a
// stream, or a poll that waits. The others take turns, in each page one at a time, by polls that are answered at once. Who has
// the seats is in localStorage, because there are no Web Locks on plain http.

import { memory } from './tab.mjs'
import { now, within } from './time.mjs'

/** page is how this page came, as the browser tells. */
export const newServer = (url, page) => {
  const SEATS = 3
  const FIRST_TRIAL = 60000 // of a stream, after polls began to work; then twice as long each time,
  const LAST_TRIAL = 3600000 // and this at most
  const EARLY_TRIAL = 3000 // in a page that knows from the one before that only polls work

  const FRESH = 5000 // a page that has a seat says so again after this time,
  const VACANT = 25000 // and if it has not for so long, it has crashed

  const held = {} // what this page has said last about the seats that it had
  const rooms = new Set() // the transports that want a seat
  let interval = FIRST_TRIAL

  /** Takes as many free seats as its rooms need, gives back the others, and seats the rooms that came first. */
  const share = () => {
    let seats = page?.nextHopProtocol?.[1] < 4 ? Infinity : 0
    try {
      for (let i = SEATS; i--; ) {
        const seat = localStorage[url + i] // when its page last said so
        const mine = seat == held[i]
        const age = Date.now() - seat
        if (seats < rooms.size && (mine || !(age < VACANT))) {
          seats++
          if (!(age < FRESH)) held[i] = localStorage[url + i] = Date.now() + Math.random()
        } else if (mine) localStorage[url + i] = ''
      }
    } catch {
      seats = SEATS // storage is forbidden, or this is a worker
    }
    rooms.forEach((transport) => transport._sit(seats-- > 0))
  }

  const tryIn = (time) => (server._due = now() + (interval = Math.min(time, LAST_TRIAL)))

  const server = {
    _url: url,
    /** How long the first event of a stream may take, as it seems by what was measured on this page. */
    _first: within(1000 + 4 * page?.responseStart, 1000, 3000, 3000),
    _polls: memory(url), // what worked last
    _due: now() + EARLY_TRIAL, // when a stream is to be tried again
    _line: Promise.resolve(), // of those who have no seat

    /** Polls work (1), or a stream (''). */
    _prefer(polls) {
      memory(url, (server._polls = polls))
      tryIn(polls ? interval : FIRST_TRIAL)
    },
    /** A stream is tried. */
    _try: () => tryIn(2 * interval),

    /** A room wants a seat from now on, or no more. */
    _enter: (transport) => rooms.add(transport) && share(),
    _leave: (transport) => rooms.delete(transport) && share(),

    /** Something has come from the server: timers of hidden pages hardly run. */
    _beat: share,
  }

  return server
}
